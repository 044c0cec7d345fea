"""Training: it resumes bit-equal, ends with the best weights, stops in time, and names what is not finite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_codes import ROW, SMALL, markov
from stopping import stopped_after

from avq.errors import Stopped
from avq.priors import train as training
from avq.priors.codes import Codes
from avq.priors.likelihood import cost
from avq.priors.train import train_prior
from avq.priors.transformer import Prior, fresh_prior
from avq.training.config import STATE_FILE
from avq.training.diagnose import NonFiniteLoss
from avq.training.trainer import OnProgress

TRAIN, VALIDATION = Codes(markov(300, 0)), Codes(markov(100, 1))


def same(a: Prior, b: Prior) -> bool:
    return all(torch.equal(one, two) for one, two in zip(a.parameters(), b.parameters(), strict=True))


def without_times(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("step", [1, 4, 11])
def test_a_prior_stopped_anywhere_ends_with_the_same_weights(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed, resumed = (fresh_prior(ROW, SMALL, seed) for seed in (0, 0, 99))
    curve = train_prior(whole, TRAIN, VALIDATION, 0)

    def begin(stop: OnProgress) -> None:
        train_prior(killed, TRAIN, VALIDATION, 0, folder=tmp_path, on_progress=stop)

    stopped_after(step, begin, training, monkeypatch)
    again = train_prior(resumed, TRAIN, VALIDATION, 0, folder=tmp_path)
    assert same(whole, resumed)
    assert without_times(curve.rows) == without_times(again.rows)
    assert [row["images"] for row in curve.rows] == [128, 256, 384, 512, 640, 768]


def test_it_ends_with_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Codes(TRAIN.sequences[:16])  # overfits at once
    prior = fresh_prior(ROW, replace(SMALL, prior_steps=120), 0)
    rows = train_prior(prior, few, VALIDATION, 0).rows
    bits = [row["validation-bits-per-token"] for row in rows]
    assert min(bits) < bits[-1]
    assert cost(prior, VALIDATION).bits_per_token == min(bits)


def test_the_time_is_over(tmp_path: Path) -> None:
    prior = fresh_prior(ROW, SMALL, 0)
    with pytest.raises(Stopped, match="prior of x: stopped after step 0 of 12"):
        train_prior(prior, TRAIN, VALIDATION, 0, name="prior of x", folder=tmp_path, stop_at=0.0)
    assert (tmp_path / STATE_FILE).exists()


def test_what_is_not_finite_is_named() -> None:
    prior = fresh_prior(ROW, SMALL, 0)
    with torch.no_grad():
        prior.blocks[1].expand.weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteLoss, match=r"step 1 of 12; first tensor .*: weight blocks\.1\.expand"):
        train_prior(prior, TRAIN, VALIDATION, 0)
