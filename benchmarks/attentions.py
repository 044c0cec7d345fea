"""Attention ready to be called, forward and backward, for timing here and for memory in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch

from avq.models.attention import attend


def attention(
    implementation: str, similarity: str, side: int, filters: int, channels: int, batch: int = 1
) -> Callable[[], object]:
    """A call of `attend`, forward and backward, on latents of that side."""
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        torch.randn(batch, side * side, width, generator=generator).requires_grad_()
        for width in (filters, filters, channels)
    )
    with torch.no_grad():
        queries *= filters**-0.5
    slope = torch.randn(values.shape, generator=generator)

    def call() -> object:
        out = attend(queries, keys, values, similarity, implementation)
        return torch.autograd.grad(out, (queries, keys, values), slope)

    return call
