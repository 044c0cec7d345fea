"""Codes drawn from a prior, place by place, through its cache; and their images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from avq.data.loader import to_uint8
from avq.models.tokenizer import Tokenizer
from avq.priors.sequence import Layout
from avq.priors.transformer import Cache, Prior
from avq.priors.unigram import Unigram

_TOKENS_AT_ONCE = 2**16  # whose keys and values are 150 MB at the standard size
_DECODED_AT_ONCE = 64


class Drawing(NamedTuple):
    """How a code is drawn from its probabilities.

    Attributes:
        temperature: divides the logits; above 0.
        top_k: only the k most probable codes.
        top_p: only the most probable codes that together reach p (nucleus sampling, 1904.09751).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of logits `[B, K]`, float64."""
        p = F.softmax(logits.double() / self.temperature, -1)
        if self.top_k is not None and self.top_k < p.shape[1]:
            p = torch.where(p < p.topk(self.top_k).values[:, -1:], 0, p)
        if self.top_p is not None:
            ordered, codes = p.sort(descending=True)
            before = ordered.cumsum(-1) - ordered
            outside = before >= self.top_p * ordered.sum(-1, keepdim=True)
            p = p.masked_fill(outside.scatter(-1, codes, outside), 0)
        return p


PLAIN = Drawing()
"""By the prior's own probabilities."""


@torch.inference_mode()
def sample(
    prior: Prior | Unigram,
    count: int,
    seed: int = 0,
    *,
    drawing: Drawing = PLAIN,
    labels: Tensor | None = None,
    given: Tensor | None = None,
    device: str = "cpu",
) -> Tensor:
    """Sequences int64 `[count, T]`, on the CPU; a seed gives the same ones in batches of any size.

    Args:
        prior: or the unigram frequencies.
        count: how many.
        seed: of the random numbers.
        drawing: how a code is drawn.
        labels: classes int64 `[count]`, where the prior has classes.
        given: the first codes of each, int64 `[count, s]`, which are kept: completions.
        device: where to compute.
    """
    prior = prior.to(device).eval()
    length = prior.layout.length
    chance = torch.rand(count, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)
    drawn = torch.zeros(count, length, dtype=torch.int64, device=device)
    known = 0 if given is None else given.shape[1]
    if given is not None:
        drawn[:, :known] = given
    fixed = prior.logits() if isinstance(prior, Unigram) else None
    size = max(1, _TOKENS_AT_ONCE // length)
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        rows = part.stop - start
        classes = None if labels is None else labels[part].to(device)
        cache = Cache(prior, rows) if isinstance(prior, Prior) else None
        for place in range(known, length):
            if fixed is not None:
                logits = fixed[place].expand(rows, -1)
            else:
                logits = prior(drawn[part, :place], classes, cache)[:, -1]
            total = drawing.probabilities(logits).cumsum(-1)
            code = torch.searchsorted(total, chance[part, place, None] * total[:, -1:], right=True)
            drawn[part, place] = code[:, 0]
    return drawn.cpu()


@torch.inference_mode()
def decode(tokenizer: Tokenizer, layout: Layout, sequences: Tensor, device: str = "cpu") -> Tensor:
    """Images uint8 `[N, H, W, 3]`, on the CPU, of sequences `[N, T]`."""
    tokenizer = tokenizer.to(device).eval()
    parts = [layout.unflatten(part.to(device)) for part in torch.split(sequences, _DECODED_AT_ONCE)]
    return torch.cat([to_uint8(tokenizer.decode(codes)).cpu() for codes in parts])
