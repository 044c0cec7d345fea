"""The entropy terms of soft assignments: per-sample entropy, to be small, and batch entropy, to be large."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avq.models.collective import mean_over_ranks


def bit_entropies(logits: Tensor, over_ranks: bool) -> tuple[Tensor, Tensor]:
    """Two entropies in nats of codes of independent bits, from the logits `[N, bits]` of each bit being 1.

    Returns:
        The mean over samples of the code's entropy, exact; and the entropy of the mean assignment as if its bits were
        independent, an upper bound. The mean is over all ranks' samples where `over_ranks`.
    """
    ones = logits.sigmoid()
    per_sample = (F.softplus(logits) - logits * ones).sum(1).mean()
    mean = _mean(ones, over_ranks)
    return per_sample, _entropy(torch.stack([mean, 1 - mean]))


def _mean(probabilities: Tensor, over_ranks: bool) -> Tensor:
    mean = probabilities.mean(0)
    return mean_over_ranks(mean) if over_ranks else mean


def _entropy(probabilities: Tensor) -> Tensor:
    """-sum p log p, with a finite gradient at p = 0."""
    return torch.special.entr(probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny)).sum()
