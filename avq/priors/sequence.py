"""An image's codes as one sequence: the top level first, raster order, depth innermost (as in VQ-VAE-2, 1906.00446,
sec. 3.2, the top level is drawn before the one below it; depth as in the RQ-Transformer, 2203.01941, sec. 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from avq.errors import UsageError


@dataclass(frozen=True)
class Grid:
    """The codes of one level of an image.

    Attributes:
        shape: height and width, and the depth where a place has several codes (residual, product).
        codebook_size: K; codes are below it.
    """

    shape: tuple[int, ...]
    codebook_size: int

    @property
    def tokens(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Where each token of a sequence lies.

    Attributes:
        grids: of all levels of the tokenizer, bottom level first.
        decoder_levels: the levels (1 = bottom) that the decoder sees; no others are in the sequence.
    """

    grids: tuple[Grid, ...]
    decoder_levels: tuple[int, ...]

    def __post_init__(self) -> None:
        missing = [level for level in self.decoder_levels if not 1 <= level <= len(self.grids)]
        if missing or not self.decoder_levels:
            raise UsageError(f"the decoder's levels are {list(self.decoder_levels)}, of {len(self.grids)} in all.")
        for level, grid in enumerate(self.grids, 1):
            if len(grid.shape) not in (2, 3) or not grid.tokens or grid.codebook_size < 2:
                raise UsageError(
                    f"level {level}: codes of shape {list(grid.shape)} below {grid.codebook_size}; needed are a height "
                    "and a width, perhaps a depth, and at least 2 codes."
                )

    def __str__(self) -> str:
        return " and ".join(f"{'x'.join(map(str, g.shape))} below {g.codebook_size}" for g in self.grids)

    @property
    def order(self) -> list[int]:
        """The levels of the sequence, the top one first."""
        return sorted(self.decoder_levels, reverse=True)

    @cached_property
    def length(self) -> int:
        """Tokens of a sequence, T."""
        return sum(self.grids[level - 1].tokens for level in self.order)

    @property
    def vocabulary(self) -> int:
        """The largest codebook size."""
        return int(self.codebook_sizes().max())

    def codebook_sizes(self) -> Tensor:
        """K of each token, int64 `[T]`."""
        grids = [self.grids[level - 1] for level in self.order]
        return torch.cat([torch.full((grid.tokens,), grid.codebook_size) for grid in grids])

    def places(self) -> Tensor:
        """Level (from 0), row, column and depth of each token, int64 `[T, 4]`."""
        parts = []
        for level in self.order:
            sides = (*self.grids[level - 1].shape, 1)[:3]
            parts.append(torch.cartesian_prod(torch.tensor([level - 1]), *map(torch.arange, sides)))
        return torch.cat(parts)

    def slots(self) -> Tensor:
        """Which pair of level and depth each token is of, int64 `[T]` from 0: those of one slot share a codebook."""
        slots: Tensor = torch.unique(self.places()[:, [0, 3]], dim=0, return_inverse=True)[1]
        return slots

    def nominal_bits(self) -> float:
        """Bits of an image at log2 K a token."""
        return float(self.codebook_sizes().double().log2().sum())

    def flatten(self, codes: Sequence[Tensor]) -> Tensor:
        """Sequences int64 `[B, T]` of all levels' codes `[B, h, w]` or `[B, h, w, depth]`, bottom level first.

        UsageError for codes of another shape or from K on.
        """
        if len(codes) != len(self.grids):
            raise UsageError(f"codes of {len(codes)} levels, where there are {len(self.grids)}.")
        for level, (one, grid) in enumerate(zip(codes, self.grids, strict=True), 1):
            if one.is_floating_point() or tuple(one.shape[1:]) != grid.shape:
                raise UsageError(
                    f"level {level} has {one.dtype} codes {list(one.shape)}, not whole numbers {['N', *grid.shape]}."
                )
            low, high = (int(one.min()), int(one.max())) if one.numel() else (0, 0)
            if low < 0 or high >= grid.codebook_size:
                raise UsageError(f"level {level} has codes from {low} to {high}, but K is {grid.codebook_size}.")
        return torch.cat([codes[level - 1].flatten(1) for level in self.order], 1).long()

    def unflatten(self, sequences: Tensor) -> list[Tensor]:
        """The codes of all levels as `flatten` takes them; those that the decoder does not see are 0."""
        codes = [sequences.new_zeros(len(sequences), *grid.shape) for grid in self.grids]
        parts = torch.split(sequences, [self.grids[level - 1].tokens for level in self.order], 1)
        for level, part in zip(self.order, parts, strict=True):
            codes[level - 1] = part.reshape(len(sequences), *self.grids[level - 1].shape)
        return codes


def layout_of(codes: Sequence[Tensor], codebook_sizes: Sequence[int], decoder_levels: Sequence[int]) -> Layout:
    """The layout of a tokenizer's codes `[B, h, w]` or `[B, h, w, depth]`, all bottom level first."""
    grids = [Grid(tuple(one.shape[1:]), size) for one, size in zip(codes, codebook_sizes, strict=True)]
    return Layout(tuple(grids), tuple(decoder_levels))


def layout_from(about: Mapping[str, Any]) -> Layout:
    """The layout that `dataclasses.asdict` made plain."""
    grids = [Grid(tuple(grid["shape"]), grid["codebook_size"]) for grid in about["grids"]]
    return Layout(tuple(grids), tuple(about["decoder_levels"]))
