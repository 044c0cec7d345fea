"""The baseline of priors: the frequency of each code at each place, whatever the others are."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avq.priors.sequence import Layout

_AT_ONCE = 2**22  # codes counted at a time


class Unigram(nn.Module):
    """p(code) at each place, with half a count added to each of its K codes (Krichevsky & Trofimov 1981).

    It takes the place of a `Prior` wherever one is measured or sampled from; nothing is trained.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout, self.classes = layout, 0
        self.register_buffer("counts", torch.zeros(layout.length, layout.vocabulary, dtype=torch.int64))

    counts: Tensor

    def fit(self, sequences: NDArray[Any]) -> Unigram:
        """Count the codes of sequences `[N, T]`; returns itself."""
        places = torch.arange(self.layout.length) * self.layout.vocabulary
        flat = self.counts.zero_().view(-1)
        rows = max(1, _AT_ONCE // self.layout.length)
        for start in range(0, len(sequences), rows):
            part = torch.from_numpy(sequences[start : start + rows].astype("int64"))
            flat += (part + places).flatten().bincount(minlength=len(flat))
        return self

    def logits(self) -> Tensor:
        """log p float32 `[T, K]` of each code at each place; minus infinity from the place's K on."""
        sizes = self.layout.codebook_sizes()[:, None].to(self.counts.device)
        p = (self.counts.double() + 0.5) / (self.counts.sum(1, keepdim=True) + 0.5 * sizes)
        beyond = torch.arange(self.layout.vocabulary, device=p.device) >= sizes
        return p.log().float().masked_fill(beyond, -torch.inf)

    def log_probabilities(self, sequences: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p of each code of whole sequences `[B, T]`, float32 `[B, T]`, in nats."""
        return self.logits().expand(len(sequences), -1, -1).gather(-1, sequences[..., None])[..., 0]
