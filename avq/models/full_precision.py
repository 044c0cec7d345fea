"""Models of any dtype: the dtype that a module takes, and modules that a cast of their model leaves in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


class FullPrecision(nn.Module):
    """A module whose floating tensors stay in float32 when `half`, `bfloat16`, `double` or `to` casts its model.

    Other dtypes in `computes_in` are taken over.
    """

    computes_in: tuple[torch.dtype, ...] = (torch.float32, torch.float64)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        def without_cast(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            kept = not result.is_floating_point() or result.dtype in self.computes_in
            return result if kept else tensor.to(result.device, torch.float32)

        return super()._apply(without_cast, recurse)  # type: ignore[no-untyped-call, no-any-return]


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of its first floating weight, in which it takes images or latents; float32 without one."""
    floating: Iterator[Any] = (weight for weight in module.parameters() if weight.is_floating_point())
    return next(floating, torch.zeros(())).dtype
