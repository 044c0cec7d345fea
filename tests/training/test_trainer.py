"""The loop: it learns, resumes bit-equal, repeats bit-equal, and names what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.data.sources import Dataset
from avq.models import create_variant
from avq.models.tokenizer import Tokenizer
from avq.training import trainer
from avq.training.config import STATE_FILE, TrainConfig
from avq.training.diagnose import NonFiniteLoss
from avq.training.seeds import derive_seed
from avq.training.step import learning_rate
from avq.training.trainer import Progress, train

CONFIG = TrainConfig(steps=12, batch_size=8, learning_rate=2e-3, validate_every=5, warmup_steps=2)


def fresh(name: str = "aren-2-rpa-mean", seed: int = 0, **settings: object) -> Tokenizer:
    torch.manual_seed(derive_seed(seed, "initialisation"))
    return create_variant(name, 16, width=8, num_codes=16, **settings)


def same(a: Tokenizer, b: Tokenizer) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


def without_times(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class Stop(Exception):
    """Thrown in mid-training: what a kill leaves is a state file."""


def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch, faces: Dataset, folder: Path, name: str) -> None:
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_REPORTS", 0.0)

    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise Stop

    with pytest.raises(Stop):
        train(fresh(name), faces, CONFIG, 0, folder=folder, on_progress=stop)


@pytest.mark.parametrize("step", [1, 4, 5, 11])
@pytest.mark.parametrize("name", ["aren-2-rpa-mean", "vqvae"])
def test_a_run_stopped_anywhere_ends_with_the_same_weights(
    step: int, name: str, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fresh(name)
    curve = train(whole, faces, CONFIG, 0)
    interrupted_at(step, monkeypatch, faces, tmp_path, name)
    assert (tmp_path / STATE_FILE).exists()
    resumed = fresh(name, seed=99)  # its weights come from the state, not from its own start
    again = train(resumed, faces, CONFIG, 0, folder=tmp_path)
    assert same(whole, resumed)
    assert without_times(curve.rows) == without_times(again.rows)


def test_a_rerun_is_bit_equal_and_another_seed_is_not(faces: Dataset) -> None:
    models = [fresh(seed=seed) for seed in (0, 0, 1)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, faces, CONFIG, seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_it_learns(faces: Dataset) -> None:
    history = train(fresh("aren-1"), faces, TrainConfig(steps=120, batch_size=16, learning_rate=3e-3), 0)
    curve = [row["validation-mae"] for row in history.rows]
    assert [row["step"] for row in history.rows] == [100, 120]
    assert curve[-1] < 0.14  # an untrained decoder is near 0.25
    assert history.seconds > 0


def test_progress_is_told(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_REPORTS", 0.0)
    told: list[Progress] = []
    train(fresh(), faces, CONFIG, 0, on_progress=told.append)
    assert [p.step for p in told] == list(range(1, 13))
    assert told[3].validation_mae is None
    assert 0 < told[-1].validation_mae < 1
    assert told[-1].seconds_left == 0
    assert all(p.images_per_s > 0 for p in told)


def test_a_floor_is_fitted(faces: Dataset) -> None:
    model = fresh("patch-kmeans")
    assert train(model, faces, CONFIG, 0).rows == []
    assert model.codebook.abs().sum() > 0  # type: ignore[operator,union-attr]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [("stages.0.0.skip.weight", "weight stages.0.0.skip.weight"), ("decoder.0.bias", "weight decoder.0.bias")],
)
def test_a_nan_names_variant_step_and_tensor(spoil: str, named: str, faces: Dataset) -> None:
    model = fresh("aren-1")
    with torch.no_grad():
        model.get_parameter(spoil).view(-1)[0] = torch.nan
    with pytest.raises(NonFiniteLoss) as caught:
        train(model, faces, CONFIG, 0, variant="aren-1")
    assert "aren-1: the loss is nan and the gradient nan at step 1 of 12" in str(caught.value)
    assert named in str(caught.value)


def test_an_overflow_names_the_module_it_comes_from(faces: Dataset) -> None:
    model = fresh("aren-1")
    with torch.no_grad():
        model.get_parameter("decoder.0.weight").fill_(3e38)
    with pytest.raises(NonFiniteLoss, match="output of decoder"):
        train(model, faces, CONFIG, 0)


@given(st.integers(1, 500), st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_the_learning_rate_rises_then_falls_to_zero(steps: int, warmup: int) -> None:
    config = TrainConfig(steps=steps, warmup_steps=warmup, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert peak <= steps // 10
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_streams_of_a_seed_differ() -> None:
    seeds = {derive_seed(s, stream) for s in range(50) for stream in ("initialisation", "data", "sampling")}
    assert len(seeds) == 150
