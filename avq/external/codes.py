"""Codes that another tool wrote, one array per level."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avq.errors import UsageError
from avq.external.arrays import ArrayFile, open_arrays
from avq.metrics.subject import check_levels

_NUMBERED = re.compile(r".*?(\d+)$")


@dataclass(frozen=True)
class OutsideCodes:
    """The codes of all images.

    Attributes:
        levels: arrays `[N, h, w]` (or `[N, T]`: tokens in a row), bottom level first.
        codebook_sizes: K per level.
        decoder_levels: the levels (1 = bottom) that the decoder sees.
    """

    levels: list[ArrayFile]
    codebook_sizes: list[int]
    decoder_levels: list[int]

    def batches(self, size: int) -> Generator[list[Tensor], None, None]:
        """int64 `[B, h, w]` per level, from the first image on.

        Raises:
            UsageError: a code outside its codebook; names the first image with one.
        """
        with ExitStack() as opened:
            streams = [opened.enter_context(closing(level.chunks(size))) for level in self.levels]
            for number, pieces in enumerate(zip(*streams, strict=True)):
                for level, piece, k in zip(self.levels, pieces, self.codebook_sizes, strict=True):
                    _check(piece, k, level.label, number * size)
                yield [torch.from_numpy(p.astype("int64").reshape(len(p), -1, p.shape[-1])) for p in pieces]


def _check(codes: NDArray[Any], k: int, label: str, start: int) -> None:
    outside = ((codes < 0) | (codes >= k)).reshape(len(codes), -1)
    if outside.any():
        first, place = (int(index) for index in np.argwhere(outside)[0])
        code = codes[first].flat[place]
        hint = "; do the codes count from 1?" if code == k else ""
        raise UsageError(
            f"{label}: image {start + first} (counted from 0) has code {code}, "
            f"but the codebook has {k} (0 to {k - 1}){hint}"
        )


def open_codes(
    path: Path, codebook_sizes: Sequence[int], images: int, decoder_levels: Sequence[int] | None = None
) -> OutsideCodes:
    """Open a .npy file (one level), or an .npz with an array per level.

    Several arrays are ordered by the number at the end of their names: `level-1` is the bottom, the finest.

    Args:
        path: the file.
        codebook_sizes: K per level, bottom first, or one for all.
        images: how many images there are.
        decoder_levels: the levels that the decoder sees; default: all.

    Raises:
        UsageError: levels without numbers, shapes or counts that do not fit; one line.
    """
    arrays = open_arrays(path)
    levels = list(arrays.values()) if len(arrays) == 1 else _numbered(path, arrays)
    tokens = [_tokens(level, images) for level in levels]
    for lower, (below, above) in enumerate(pairwise(tokens), 1):
        if above > below:
            raise UsageError(
                f"{path}: level {lower + 1} has more codes per image ({above}) than level {lower} ({below}); level 1 "
                "is the bottom, the finest"
            )
    sizes = list(codebook_sizes) * (len(levels) if len(codebook_sizes) == 1 else 1)
    if len(sizes) != len(levels):
        raise UsageError(f"{path} has {len(levels)} levels, but --codebook-size names {len(sizes)} sizes")
    seen = list(decoder_levels or range(1, len(levels) + 1))
    check_levels(seen, len(levels))
    return OutsideCodes(levels, sizes, seen)


def _numbered(path: Path, arrays: dict[str, ArrayFile]) -> list[ArrayFile]:
    numbers = {name: found and int(found[1]) for name in arrays for found in [_NUMBERED.match(name)]}
    if sorted(number or 0 for number in numbers.values()) != list(range(1, len(arrays) + 1)):
        raise UsageError(
            f"{path} holds {', '.join(arrays)}: name the arrays of the levels level-1 (the finest), level-2, …"
        )
    return [arrays[name] for name in sorted(arrays, key=lambda name: numbers[name] or 0)]


def _tokens(level: ArrayFile, images: int) -> int:
    if level.dtype.kind not in "iu":
        raise UsageError(f"{level.label} is {level.dtype}; codes are whole numbers")
    if len(level.shape) not in (2, 3) or 0 in level.shape[1:]:
        raise UsageError(f"{level.label} is {list(level.shape)}; codes are [N, h, w], or [N, T] for tokens in a row")
    if level.shape[0] != images:
        raise UsageError(f"{level.label} has codes of {level.shape[0]:,} images, but there are {images:,}")
    return math.prod(level.shape[1:])
