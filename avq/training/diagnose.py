"""Naming what went wrong in a training step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from avq.errors import AvqError


class NonFiniteLoss(AvqError):
    """The loss or its gradient turned NaN or infinite; the line names variant, step and the first such tensor.

    On a GPU, where looking waits for the device, it is noticed within 50 steps, and the names are of then.
    """


def first_non_finite(model: nn.Module, images: Tensor) -> str | None:
    """Which tensor is not finite first: a weight, else a module's output on these images, else a gradient, if any."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.isfinite().all():
            return f"weight {name}"
    found: list[str] = []
    hooks = [module.register_forward_hook(_watch(name or "the model", found)) for name, module in model.named_modules()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if found:
        return f"output of {found[0]}"
    gradients = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    spoilt = [name for name, gradient in gradients if not gradient.isfinite().all()]
    return f"gradient of {spoilt[0]}" if spoilt else None


def _watch(name: str, found: list[str]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple | list) else [output]
        if any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in tensors):
            found.append(name)

    return hook
