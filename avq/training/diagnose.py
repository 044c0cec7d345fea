"""Naming what went wrong in a training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from avq.errors import AvqError
from avq.metrics.codebook import COLLAPSED_BELOW

DISCRIMINATOR_WON = "discriminator won outright"
_WON = 0.99  # share of logits right: the model gains nothing against it


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


def remarks(rows: Sequence[Mapping[str, float]], num_codes: Sequence[int]) -> list[str]:
    """What a curve shows to have gone wrong, by name, a line each; [] for a sound one.

    - a collapsed codebook: at the last point, perplexity is next to 1 (as `avq.metrics.codebook` has it);
    - a discriminator that won outright: at every point of the curve's second half, 99 % of its logits are right.

    Args:
        rows: `History.rows`.
        num_codes: codebook size a level, bottom first.
    """
    found = []
    for level, codes in enumerate(num_codes, start=1):
        perplexity = rows[-1].get(f"perplexity-{level}") if rows else None
        if perplexity is not None and perplexity < 1 + COLLAPSED_BELOW * codes:
            found.append(f"collapsed codebook: level {level} has perplexity {perplexity:.2f} of {codes} at the end")
    second = [row["discriminator-accuracy"] for row in rows[len(rows) // 2 :] if "discriminator-accuracy" in row]
    if second and min(second) >= _WON:
        found.append(f"{DISCRIMINATOR_WON}: at least {100 * min(second):.1f} % of its logits are right")
    return found


def _watch(name: str, found: list[str]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple | list) else [output]
        if any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in tensors):
            found.append(name)

    return hook
