"""Finding the tensor that is no longer finite in a training step."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from avq.errors import AvqError


class NonFiniteLoss(AvqError):
    """The loss or its gradient became NaN or infinite; the line names variant, step and the first such tensor.

    On a GPU, where a check waits for the device, it is noticed up to 50 steps later.
    """


def first_non_finite(model: nn.Module, images: Tensor) -> str | None:
    """The first tensor that is not finite: a weight, else a module's output on these images, else a gradient."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.isfinite().all():
            return f"weight {name}"
    found: list[str] = []

    def hook(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple | list) else [output]
        if any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in tensors):
            found.append(name)

    hooks = [m.register_forward_hook(partial(hook, name or "the model")) for name, m in model.named_modules()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in hooks:
            handle.remove()
    if found:
        return f"output of {found[0]}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"gradient of {name}"
    return None
