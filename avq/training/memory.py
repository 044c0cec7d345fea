"""Trading time for memory in a training step, without a change of what is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from avq.errors import UsageError
from avq.models.attention import PixelwiseControl, ResidualPixelAttention
from avq.models.blocks import BottleneckResBlock, ConvResBlock, IdResBlock, TransposedResBlock
from avq.models.quantiser import VectorQuantizer

_RECOMPUTED = (
    BottleneckResBlock, ConvResBlock, IdResBlock, TransposedResBlock, PixelwiseControl, ResidualPixelAttention,
)  # fmt: skip


def checkpoint_activations(model: nn.Module) -> None:
    """Let a model's blocks and attention layers keep only their inputs, and compute the rest again when it is needed.

    Each is computed again as a whole in the backward pass; the quantisers, which learn while they run, are not.

    Raises:
        UsageError: the model has no such parts.
    """
    parts = [module for module in model.modules() if isinstance(module, _RECOMPUTED)]
    if not parts:
        raise UsageError("checkpoint_activations does nothing on this model: it has none of the suite's blocks.")
    for part in parts:
        part.forward = _recomputed(part, part.forward)  # type: ignore[method-assign]


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
    """Batch normalisation goes by the batch, as in the first pass, but counts it only once."""
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
    """Lets the quantisers learn once from all slices of a batch, as they would from the batch in one piece.

    Use it around the slices' forward passes, then call `learn`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.quantisers = [module for module in model.modules() if isinstance(module, VectorQuantizer)]
        self.latents: dict[VectorQuantizer, list[Tensor]] = {quantiser: [] for quantiser in self.quantisers}
        self._hooks: list[Any] = []

    def __enter__(self) -> WholeBatch:
        for quantiser in self.quantisers:
            quantiser.eval()
            self._hooks.append(quantiser.register_forward_pre_hook(self._keep))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for quantiser in self.quantisers:
            quantiser.train()

    def learn(self) -> None:
        """One step of every codebook's statistics."""
        for quantiser, parts in self.latents.items():
            quantiser.learn(torch.cat(parts))

    def _keep(self, quantiser: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(quantiser, VectorQuantizer)
        self.latents[quantiser].append(inputs[0].detach())
