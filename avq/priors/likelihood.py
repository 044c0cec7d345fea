"""What codes cost under a prior: the negative log-likelihood in bits, by place and by image."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avq.priors.codes import Codes
from avq.priors.transformer import Prior
from avq.priors.unigram import Unigram

_LOGITS_AT_ONCE = 2**23  # 32 MiB of them


class Cost(NamedTuple):
    """What a split's codes cost.

    Attributes:
        per_image: bits of each image, float64 `[N]`.
        per_place: mean bits of each place of the sequence, float64 `[T]`.
    """

    per_image: NDArray[np.float64]
    per_place: NDArray[np.float64]

    @property
    def bits_per_image(self) -> float:
        return float(self.per_image.mean())

    @property
    def bits_per_token(self) -> float:
        """Never to be compared across codebook sizes or sequence lengths."""
        return self.bits_per_image / len(self.per_place)

    def bits_per_pixel(self, pixels: int) -> float:
        """Bits over the pixels of an image."""
        return self.bits_per_image / pixels


def cost(prior: Prior | Unigram, codes: Codes, device: str = "cpu") -> Cost:
    """What codes cost under a prior or the unigram frequencies; in float32, summed in float64."""
    lengths = code_lengths(prior, codes, device)
    return Cost(lengths.sum(1), lengths.mean(0))


@torch.no_grad()
def code_lengths(prior: Prior | Unigram, codes: Codes, device: str = "cpu") -> NDArray[np.float64]:
    """-log2 p of each code, `[N, T]`.

    ValueError where a prior of classes gets none, or codes with classes go to a prior without.
    """
    if (codes.labels is not None) != bool(prior.classes) and isinstance(prior, Prior):
        raise ValueError(f"a prior of {prior.classes} classes needs {'' if prior.classes else 'no '}labels")
    prior = prior.to(device).eval()
    rows = max(1, _LOGITS_AT_ONCE // (prior.layout.length * prior.layout.vocabulary))
    found = [
        prior.log_probabilities(*codes.batch(slice(start, start + rows), device)).double().cpu()
        for start in range(0, len(codes.sequences), rows)
    ]
    return -torch.cat(found).numpy() / math.log(2)
