"""Modules that a cast of their model to half precision leaves in float32."""

from __future__ import annotations

from collections.abc import Callable

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
