"""What a tokenizer has at each level, for code that measures it: a quantizer and, optionally, attention before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avq.models.quantizers.base import Quantizer


class Attention(nn.Module, ABC):
    """A layer that adds W x to a latent x `[B, C, H, W]` of N = H W pixels, W being the attention between them."""

    heads: int
    """Equal groups of channels that attend separately."""

    @abstractmethod
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The residual base and the update W x, both float32 `[B, C, H, W]`; their sum is the layer's output."""

    @abstractmethod
    def log_weights(self, x: Tensor, rows: Tensor) -> Tensor:
        """log W_ij `[B, heads, R, N]` of the pixels i = `rows` (int64 `[R]`, in row-major order), without the N x N W.

        Logarithms, since a sigmoid's row may be too small for float32. A gate is left out.
        """

    @abstractmethod
    def row(self, x: Tensor, pixel: int) -> tuple[Tensor, Tensor]:
        """`parts` of one pixel of one image `[1, C, H, W]`: base and update, each `[C]`, without the N x N W."""

    @abstractmethod
    def computed(self, pixels: int, device: torch.device | str) -> str | None:
        """How it is computed for N pixels: "dense" (N x N per image) or "linear"; None where W has no logits."""


class Level(NamedTuple):
    """A level of a tokenizer: its quantizer, and the attention before it, if any."""

    quantizer: Quantizer
    attention: Attention | None
