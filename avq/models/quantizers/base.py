"""What every quantizer is: the interface that models, training, evaluation and profiling use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from avq.errors import UsageError
from avq.models.full_precision import FullPrecision


class Quantized(NamedTuple):
    """Quantized latents `[B, D, H, W]` (float32), codes int64 `[B, H, W]`, and the weighted loss (a scalar)."""

    latents: Tensor
    codes: Tensor
    loss: Tensor


class Quantizer(FullPrecision, ABC):
    """Turns latents `[B, D, H, W]` into codes `[B, H, W]` and back; the base class of a user's own quantizer.

    The latents that `forward` gives are those that `decode` gives of its codes.

    It computes in float32 under any autocast and in a model of any dtype: a cast of the model leaves its weights in
    float32, and latents may be of any dtype. It stays the same on all ranks of a training: statistics that it learns
    without a gradient are summed over ranks (`avq.models.collective`). Only `forward` in training mode, `learn` and
    `initialise` move it. A codebook that nothing has started yet is the one drawn when it was made.
    """

    computes_in = (torch.float32,)

    codebook_size: int
    """K, the number of values of a code; 0 where there are no codes and latents stand in their place."""

    codes_per_position: int = 1
    """R; where there are several, codes are `[B, H, W, R]`, each from 0 to K - 1."""

    learning: bool = True
    """Whether `forward` learns in training mode; not while slices of a batch pass, after which `learn` is called."""

    @abstractmethod
    def forward(self, latents: Tensor) -> Quantized:
        """Quantize, with a gradient that reaches the latents; in training mode also `learn`."""

    @abstractmethod
    def encode(self, latents: Tensor) -> Tensor:
        """Only the codes, int64 `[B, H, W]`; learns nothing in any mode."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """The quantized latents `[B, D, H, W]` of codes `[B, H, W]`."""

    def initialise(self, latents: Tensor) -> None:
        """Start from the latents of a large batch, before the first training step."""

    def learn(self, latents: Tensor) -> None:
        """One update of what is learned without a gradient, from all latents of a batch; none if one is not finite."""

    def codebook_values(self) -> int:
        """The number of values that the codebook stores."""
        return 0

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        for name, own in self.state_dict(prefix=prefix).items():
            given = state_dict.get(name, own)
            if given.shape != own.shape:
                line = f"{name} is {list(given.shape)} in this state and {list(own.shape)} in this quantizer"
                raise UsageError(f"{line} of {self.codebook_size} codes; load it with the settings it was made with.")
        super()._load_from_state_dict(state_dict, prefix, *rest)
