"""The entropy terms of soft assignments: per-sample entropy, to be small, and batch entropy, to be large."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from avq.models.collective import mean_over_ranks
from avq.models.quantizers.nearest import tiled

T = TypeVar("T")


def bit_entropies(logits: Tensor, over_ranks: bool) -> tuple[Tensor, Tensor]:
    """Two entropies in nats of codes of independent bits, from the logits `[N, bits]` of each bit being 1.

    Returns:
        The mean over samples of the code's entropy, exact; and the entropy of the mean assignment as if its bits were
        independent, an upper bound. The mean is over all ranks' samples where `over_ranks`.
    """
    ones = logits.sigmoid()
    per_sample = (F.softplus(logits) - logits * ones).sum(1).mean()
    mean = mean_over_ranks(ones.mean(0)) if over_ranks else ones.mean(0)
    return per_sample, _entropy(torch.stack([mean, 1 - mean]))


def _entropy(probabilities: Tensor) -> Tensor:
    """-sum p log p, with a finite gradient at p = 0."""
    entropies: Tensor = torch.special.entr(probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny))
    return entropies.sum()


def softmax_entropies(flat: Tensor, weight: Tensor, bias: Tensor, over_ranks: bool) -> tuple[Tensor, Tensor]:
    """The same two entropies, both exact, of codes drawn by the softmax of `flat @ weight.T + bias`.

    In tiles that the backward pass computes anew, so that nothing of size N x K is held.

    Args:
        flat: `[N, D]`.
        weight: `[K, D]`.
        bias: `[K]`.
        over_ranks: as in `bit_entropies`.
    """

    def of(tile: Tensor) -> tuple[Tensor, Tensor]:
        logs = F.linear(tile, weight, bias).log_softmax(1)
        return -(logs.exp() * logs).sum(), logs.exp().sum(0)

    tiles = [recomputed(of, tile) for tile in tiled(flat, len(weight))]
    per_sample, used = (torch.stack(part).sum(0) / len(flat) for part in zip(*tiles, strict=True))
    return per_sample, _entropy(mean_over_ranks(used) if over_ranks else used)


def recomputed(function: Callable[[Tensor], T], tile: Tensor) -> T:
    """`function(tile)`, which the backward pass computes anew."""
    result: T = checkpoint(function, tile, use_reentrant=False, preserve_rng_state=False)
    return result
