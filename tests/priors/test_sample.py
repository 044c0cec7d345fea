"""Sampling: what temperature, top-k, top-p, seeds and given codes do."""

from __future__ import annotations

import pytest
import torch
from made_codes import UNEVEN, lively_prior, some_codes

from avq.priors import sample as sampling
from avq.priors.sample import Drawing, sample


def test_a_seed_gives_the_same_samples_in_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = lively_prior(UNEVEN)
    whole = sample(prior, 20, 1)
    assert (whole < UNEVEN.codebook_sizes()).all()
    assert not torch.equal(whole, sample(prior, 20, 2))
    assert torch.equal(whole[:5], sample(prior, 5, 1))
    monkeypatch.setattr(sampling, "_TOKENS_AT_ONCE", 7 * 12)
    assert torch.equal(whole, sample(prior, 20, 1))


def test_the_cache_changes_no_sample() -> None:
    prior, chance = (
        lively_prior(UNEVEN),
        torch.rand(8, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64),
    )
    drawn = torch.zeros(8, 12, dtype=torch.long)
    for place in range(12):
        with torch.no_grad():
            p = prior(drawn[:, :place])[:, -1].double().softmax(-1)
        drawn[:, place] = (p.cumsum(-1) <= chance[:, place, None]).sum(-1)
    assert torch.equal(drawn, sample(prior, 8, 4))


def test_given_codes_are_kept_and_continued() -> None:
    prior, given = lively_prior(UNEVEN), some_codes(UNEVEN, 9)[:, :6]
    completed = sample(prior, 9, 0, given=given)
    assert torch.equal(completed[:, :6], given)
    assert not torch.equal(completed[:, 6:], sample(prior, 9, 0)[:, 6:])
    begun = sample(prior, 9, 0)[:, :6]
    assert torch.equal(sample(prior, 9, 0, given=begun), sample(prior, 9, 0))


def test_temperature_top_k_and_top_p() -> None:
    p = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]])

    def left(**how: float) -> list[list[float]]:
        kept = Drawing(**how).probabilities(p.log())  # type: ignore[arg-type]
        return (kept / kept.sum(1, keepdim=True)).tolist()

    assert left()[0] == pytest.approx([0.5, 0.3, 0.15, 0.05], rel=1e-6)
    assert left(temperature=0.5)[0] == pytest.approx([x * x / 0.365 for x in (0.5, 0.3, 0.15, 0.05)], rel=1e-6)
    assert left(top_k=2) == [pytest.approx([0.625, 0.375, 0, 0]), pytest.approx([0, 0, 3 / 7, 4 / 7])]
    assert left(top_k=9) == left()
    assert left(top_p=0.6) == [pytest.approx([0.625, 0.375, 0, 0]), pytest.approx([0, 0, 3 / 7, 4 / 7])]
    assert left(top_p=0.01) == [[1, 0, 0, 0], [0, 0, 0, 1]]
    best = sample(lively_prior(UNEVEN), 5, 0, drawing=Drawing(top_k=1))
    assert torch.equal(best, best[:1].expand(5, -1))
