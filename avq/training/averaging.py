"""An exponential moving average of the weights, which validation and checkpoints use in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The moving average of a model's parameters (arXiv 1412.6980, sec. 7.2), which begins with their present values.

    The decay of update n (from 0) is `min(decay, (1 + n) / (10 + n))`, so that a short training does not end with its
    first weights. Buffers, such as an EMA codebook, are not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = [parameter.detach() for parameter in model.parameters()]
        self._decay = decay
        self.tensors = [parameter.clone() for parameter in self._parameters]

    def update(self, updates: int) -> None:
        """Take the present weights in, after that many earlier updates."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self.tensors, self._parameters, 1 - decay)

    def put_in_place(self) -> None:
        """Replace the model's weights by the averaged ones."""
        torch._foreach_copy_(self._parameters, self.tensors)

    def load(self, tensors: list[Tensor]) -> None:
        """Resume from the tensors of an earlier average."""
        torch._foreach_copy_(self.tensors, tensors)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the model has its averaged weights; after it its own again, bit for bit."""
        own = [parameter.clone() for parameter in self._parameters]
        self.put_in_place()
        try:
            yield
        finally:
            torch._foreach_copy_(self._parameters, own)
