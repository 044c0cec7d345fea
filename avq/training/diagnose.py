"""Finding the tensor that is no longer finite in a training step, and undoing what the step has left in buffers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from avq.errors import AvqError
from avq.models.quantizers.base import Quantizer
from avq.models.tokenizer import Tokenizer


class NonFiniteLoss(AvqError):
    """The loss or its gradient became NaN or infinite; the line names variant, step and the first such tensor.

    On a GPU, where a check waits for the device, it is noticed up to 50 steps later.
    """


class Buffers:
    """A module's buffers as they were at `keep`, such as the running statistics of batch normalisation.

    Those of quantizers, which learn nothing from what is not finite, are left out unless asked for.
    """

    def __init__(self, module: nn.Module, quantizers: bool = False) -> None:
        theirs = {id(b) for q in module.modules() if isinstance(q, Quantizer) and not quantizers for b in q.buffers()}
        self._buffers = [buffer for buffer in module.buffers() if id(buffer) not in theirs]
        self._kept = [buffer.clone() for buffer in self._buffers]

    def keep(self) -> None:
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            kept.copy_(buffer)

    def put_back(self) -> None:
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)


@torch.no_grad()
def first_non_finite(model: nn.Module, slices: Sequence[Tensor]) -> str | None:
    """The first tensor that is not finite, with its level where that is known; the model stays as it is.

    A weight or buffer, else a module's output on one of the batch's slices of images, else the gradient of the last
    module: backward, it is the first.
    """
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.isfinite().all():
            return f"weight {_located(model, name)}"
    buffers, ran, found = Buffers(model, quantizers=True), [], []

    def hook(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple | list) else [output]
        ran.append(name)
        if any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in tensors):
            found.append(name)

    hooks = [m.register_forward_hook(partial(hook, name)) for name, m in model.named_modules()]
    try:
        for images in slices:
            model(images.clone())
    finally:
        for handle in hooks:
            handle.remove()
        buffers.put_back()
    if found:
        return f"output of {_located(model, found[0])}"
    for name in reversed(ran):
        for own, parameter in model.get_submodule(name).named_parameters(recurse=False):
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                return f"gradient of {_located(model, f'{name}.{own}')}"
    return None


def _located(model: nn.Module, name: str) -> str:
    """A dotted name, with the part of the model that it belongs to: `stages.1.0.skip (encoder level 2)`."""
    names = {module: own for own, module in model.named_modules()}
    for part, label in model.find_parts().items() if isinstance(model, Tokenizer) else ():
        if f"{name}.".startswith(f"{names[part]}."):
            return f"{name} ({label})"
    return name or "the model"
