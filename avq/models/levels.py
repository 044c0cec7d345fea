"""What a tokenizer has at each level, for those who measure it: a quantizer and, maybe, attention before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avq.models.quantizers.base import Quantizer


class Attention(nn.Module, ABC):
    """A layer that adds W x to a latent x `[B, C, H, W]` of N = H W pixels, W being its attention over them.

    Attributes:
        heads: equal groups of channels that attend each by themselves.
    """

    heads: int

    @abstractmethod
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The residual base and the update W x, both float32 `[B, C, H, W]`; their sum is the layer's output."""

    @abstractmethod
    def log_weights(self, x: Tensor, rows: Tensor) -> Tensor:
        """log W_ij of the pixels i = `rows` (int64 `[R]`, row by row of the latent), `[B, heads, R, N]`, no N x N."""

    @abstractmethod
    def row(self, x: Tensor, pixel: int) -> tuple[Tensor, Tensor]:
        """`parts` of one pixel of one image: base and update, each `[C]`."""

    @abstractmethod
    def computed(self, pixels: int, device: torch.device | str) -> str | None:
        """How it is computed for so many pixels: "dense", N x N an image, or "linear"; None where W has no logits."""


class Level(NamedTuple):
    """A level of a tokenizer: its quantizer, and the attention before it, None where there is none."""

    quantizer: Quantizer
    attention: Attention | None
