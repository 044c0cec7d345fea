"""Trading time for memory in a training step, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from avq.errors import UsageError
from avq.models.quantizers.base import Quantizer
from avq.models.tokenizer import Tokenizer


class Recomputed:
    """A context in which a model's blocks and attention layers save only their inputs in a forward pass.

    The backward pass recomputes each as a whole, but not the quantizers, which learn in the forward pass. UsageError
    for a model without blocks.
    """

    def __init__(self, model: Tokenizer) -> None:
        self._forwards = {block: _recomputed(block, block.forward) for block in model.find_blocks()}
        if not self._forwards:
            raise UsageError("checkpoint_activations does nothing on this model: it has none of the suite's blocks.")

    def __enter__(self) -> None:
        for block, forward in self._forwards.items():
            block.forward = forward

    def __exit__(self, *error: object) -> None:
        for block in self._forwards:
            del block.forward


def _recomputed(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_untouched(module)

    def call(*inputs: Tensor) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)

    return call


@contextmanager
def _statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Batch normalisation uses the batch's statistics, as in the first pass, but does not count them again."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d) and part.track_running_stats]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count


class WholeBatch:
    """A context around the forward passes of a batch's slices, after which `learn` updates the quantizers.

    They learn once from all slices, as from the batch in one piece.
    """

    def __init__(self, model: Tokenizer) -> None:
        self._latents: dict[Quantizer, list[Tensor]] = {
            part: [] for part in model.modules() if isinstance(part, Quantizer) and part.training
        }
        self._hooks: list[Any] = []

    def __enter__(self) -> WholeBatch:
        for quantizer in self._latents:
            quantizer.learning = False
            self._hooks.append(quantizer.register_forward_pre_hook(self._keep))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for quantizer in self._latents:
            quantizer.learning = True

    def learn(self) -> None:
        for quantizer, slices in self._latents.items():
            if slices:  # an inner one may be used without being called
                quantizer.learn(torch.cat(slices))

    def _keep(self, quantizer: Any, inputs: tuple[Tensor, ...]) -> None:
        self._latents[quantizer].append(inputs[0].detach())
