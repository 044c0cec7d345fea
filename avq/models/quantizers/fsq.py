"""Finite scalar quantization (arXiv 2309.15505, section 3.1 and the listing of its appendix A.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from avq.errors import UsageError
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import FlatQuantizer, projected, straight_through

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig

_SHRINK = 1 - 1e-3  # the listing's epsilon: the outermost levels are reached before tanh saturates
_MOST = 2**62  # codes are int64


def from_config(config: AutoencoderConfig, fsq_levels: Sequence[int]) -> Quantizer:
    """The quantizer "fsq" of one level of the model."""
    return projected(FiniteScalar(fsq_levels), config.code_dim, len(fsq_levels))


class FiniteScalar(FlatQuantizer):
    """Bounds each channel i to an interval of L_i integers and rounds it; K is the product of all L_i.

    `round(tanh(z + shift) (L - 1) (1 - 1e-3) / 2 - offset) / (L // 2)`, where for even L the offset is 1/2 and the
    shift tan(offset / half width), as in the listing. A code is the number whose digits are the rounded values, channel
    1 being the least. There is no loss.

    Args:
        levels: L_i of each channel, each from 2 to 1,000.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or any(type(count) is not int or not 2 <= count <= 1000 for count in levels):
            raise UsageError(f"fsq_levels must be whole numbers from 2 to 1,000, not {list(levels)}.")
        self.codebook_size = math.prod(levels)
        if self.codebook_size > _MOST:
            raise UsageError(f"fsq_levels {list(levels)} make more than 2^62 codes; give fewer or smaller ones.")
        counts = torch.tensor(levels)
        self.levels_given = list(levels)
        self.register_buffer("levels", counts)  # part of the state, since the weights do not show them
        self.register_buffer("strides", counts.cumprod(0) // counts, persistent=False)
        half = (counts - 1).double() * _SHRINK / 2
        offset = (counts % 2 == 0).double() / 2
        self.register_buffer("half_width", half.float(), persistent=False)
        self.register_buffer("offset", offset.float(), persistent=False)
        self.register_buffer("shift", (offset / half).tan().float(), persistent=False)

    levels: Tensor
    strides: Tensor
    half_width: Tensor
    offset: Tensor
    shift: Tensor

    def quantize(self, flat: Tensor) -> Quantized:
        bounded = self._bounded(flat)
        rounded = bounded.detach().round()
        vectors = straight_through(bounded, rounded) / (self.levels // 2)
        return Quantized(vectors, self._number(rounded), flat.new_zeros(()))

    def assign(self, flat: Tensor) -> Tensor:
        return self._number(self._bounded(flat).round())

    def vectors(self, codes: Tensor) -> Tensor:
        middle = self.levels // 2
        return (codes[:, None] // self.strides % self.levels - middle).float() / middle

    def _bounded(self, flat: Tensor) -> Tensor:
        return torch.tanh(flat + self.shift) * self.half_width - self.offset

    def _number(self, rounded: Tensor) -> Tensor:
        return ((rounded.long() + self.levels // 2) * self.strides).sum(1)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        there = state_dict.get(f"{prefix}levels")
        if there is not None and there.tolist() != self.levels_given:
            raise UsageError(f"{prefix}levels: this state is of fsq_levels {there.tolist()}, not {self.levels_given}.")
        super()._load_from_state_dict(state_dict, prefix, *rest)
