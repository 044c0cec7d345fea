"""Codes of known entropy, and priors over them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from avq.priors.config import PriorConfig
from avq.priors.sequence import Grid, Layout
from avq.priors.transformer import Prior, fresh_prior

SMALL = PriorConfig(prior_width=32, prior_layers=2, prior_heads=2, prior_steps=12)
ROW = Layout((Grid((4, 4), 4),), (1,))
CHAIN = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.05, 0.05, 0.05, 0.85], [0.25, 0.25, 0.4, 0.1]])
"""p(next code | code) of a Markov source whose first code is uniform."""

#: Two levels of other codebook sizes with a depth, of which the decoder sees both, and one above that it does not see.
UNEVEN = Layout((Grid((4, 2), 16), Grid((2, 1, 2), 5), Grid((1, 1), 300)), (1, 2))


def markov(count: int, seed: int, length: int = ROW.length) -> NDArray[np.uint8]:
    """Sequences of the source."""
    draws = np.random.default_rng(seed).random((count, length))
    codes = np.zeros((count, length), np.uint8)
    codes[:, 0] = draws[:, 0] * len(CHAIN)
    for place in range(1, length):
        codes[:, place] = (draws[:, place, None] > CHAIN.cumsum(1)[codes[:, place - 1]]).sum(1)
    return codes


def markov_bits(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """-log2 p of each code under the source."""
    later = -np.log2(CHAIN[codes[:, :-1], codes[:, 1:]])
    return np.concatenate([np.full((len(codes), 1), np.log2(len(CHAIN))), later], 1)


def some_codes(layout: Layout, count: int, seed: int = 0) -> torch.Tensor:
    """Uniform sequences int64 `[count, T]`."""
    draws = torch.rand(count, layout.length, generator=torch.Generator().manual_seed(seed))
    return (draws * layout.codebook_sizes()).long()


def lively_prior(layout: Layout, classes: int = 0, config: PriorConfig = SMALL) -> Prior:
    """A prior with random weights so large that its probabilities are far from uniform."""
    prior = fresh_prior(layout, config, 0, classes)
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            parameter.add_(torch.randn(parameter.shape) * (0.5 if "norm" in name or "bias" in name else 0.2))
    return prior.eval()


def markov_prior() -> Prior:
    """A prior that is the source exactly: its blocks add nothing, its output solves for log p of the code before."""
    prior = fresh_prior(ROW, PriorConfig(32, 1, 2), 0)
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            if name.startswith("place") or "project" in name or "reduce" in name:
                parameter.zero_()
        known = torch.cat([prior.code.weight, prior.start.weight]).double()
        inputs = torch.nn.functional.layer_norm(known, known.shape[1:], eps=prior.norm.eps)
        wanted = torch.cat([torch.from_numpy(CHAIN), torch.full((1, 4), 0.25)]).log()
        prior.heads[0].weight.copy_(torch.linalg.lstsq(inputs, wanted).solution.T)
    return prior.eval()
