"""What every quantizer is: the face that models, training, evaluation and profiling know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Quantized(NamedTuple):
    """Quantized latents `[B, D, H, W]` (float32), codes int64 `[B, H, W]`, and the weighted loss (a scalar)."""

    latents: Tensor
    codes: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """Turns latents `[B, D, H, W]` into codes `[B, H, W]` and back. A user's own quantizer subclasses it.

    It computes in float32 whatever the autocast, and is the same on all ranks of a training: what it learns without a
    gradient it sums over them (`avq.models.collective`).

    Attributes:
        codebook_size: how many codes there are.
    """

    codebook_size: int

    @abstractmethod
    def forward(self, latents: Tensor) -> Quantized:
        """Quantize, with a gradient that reaches the latents; in training mode also `learn`."""

    @abstractmethod
    def encode(self, latents: Tensor) -> Tensor:
        """The codes alone, int64 `[B, H, W]`."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """The quantized latents `[B, D, H, W]` of codes `[B, H, W]`."""

    def initialise(self, latents: Tensor) -> None:
        """Start from the latents of a large batch, before the first step."""

    def learn(self, latents: Tensor) -> None:
        """One step of what is learned without a gradient, from all latents of a batch."""

    def codebook_values(self) -> int:
        """How many values the codebook stores."""
        return 0
