"""Averaged weights: an exponential moving average over the steps, which is judged and kept in the weights' place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The moving average of a model's parameters (arXiv 1412.6980, sec. 7.2: of Adam's iterates).

    The decay of update n (from 0) is `min(decay, (1 + n) / (10 + n))`, so that a short training does not end with
    its first weights. Buffers, an EMA codebook among them, are averages already and stay as they are.

    Args:
        model: whose parameters; their present values are where the average begins.
        decay: at least 0, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = list(model.parameters())
        self._decay = decay
        self.tensors = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take the present weights in, after that many updates before."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self.tensors, [parameter.detach() for parameter in self._parameters], 1 - decay)

    @torch.no_grad()
    def put_in_place(self) -> None:
        """Give the model the averaged weights."""
        for parameter, average in zip(self._parameters, self.tensors, strict=True):
            parameter.copy_(average)

    def load(self, tensors: list[Tensor]) -> None:
        """Go on from the tensors of an earlier average."""
        for average, tensor in zip(self.tensors, tensors, strict=True):
            average.copy_(tensor)


@contextmanager
def averaged(average: WeightAverage | None, model: nn.Module) -> Iterator[None]:
    """Within it the model has its averaged weights, where there are any; after it its own, bit for bit."""
    if average is None:
        yield
        return
    own = [parameter.detach().clone() for parameter in model.parameters()]
    average.put_in_place()
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), own, strict=True):
                parameter.copy_(value)
