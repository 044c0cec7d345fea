"""Sampling 8x8 codes from the standard prior: its seconds, and what the key-value cache saves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from avq.priors.config import PriorConfig
from avq.priors.sample import PLAIN, sample
from avq.priors.sequence import Grid, Layout
from avq.priors.transformer import fresh_prior
from benchmarks.conftest import Compare, Report

_LAYOUT = Layout((Grid((8, 8), 256),), (1,))
_FEW = 250


@torch.inference_mode()
def without_cache(count: int) -> Tensor:
    """The same samples, each place from the whole sequence before it."""
    prior = fresh_prior(_LAYOUT, PriorConfig(), 0).eval()
    chance = torch.rand(count, _LAYOUT.length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = torch.zeros(count, _LAYOUT.length, dtype=torch.int64)
    for place in range(_LAYOUT.length):
        total = PLAIN.probabilities(prior(drawn[:, :place])[:, -1]).cumsum(-1)
        drawn[:, place] = torch.searchsorted(total, chance[:, place, None] * total[:, -1:], right=True)[:, 0]
    return drawn


@pytest.mark.benchmark(group="prior")
def test_sampling_a_thousand_images(benchmark: Any, report: Report) -> None:
    prior = fresh_prior(_LAYOUT, PriorConfig(), 0)
    benchmark.pedantic(lambda: sample(prior, 1000), rounds=3, warmup_rounds=1)
    report("sampling 1,000 images of 8x8 codes from a prior", "s", benchmark.stats.stats.median, limit=10, rounds=3)


@pytest.mark.benchmark(group="prior")
def test_the_cache(compare: Compare) -> None:
    prior = fresh_prior(_LAYOUT, PriorConfig(), 0)
    assert (sample(prior, 20) == without_cache(20)).float().mean() > 0.98  # floats differ in the last digits
    compare(
        f"sampling {_FEW} images of 8x8 codes from a prior", lambda: sample(prior, _FEW), lambda: without_cache(_FEW),
        "without key-value cache", rounds=3, goal=8.0,
    )  # fmt: skip
