from __future__ import annotations

from pathlib import Path

import pytest

from avq.experiments import predict, results
from avq.experiments.execute import Event
from avq.experiments.predict import ModelCost, run_seconds
from avq.experiments.store import Store

from .conftest import make_run
from .test_results import ROWS, TINY


def test_a_prediction_is_measured_once_and_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_LEAST_SECONDS", 0.01)
    plan = results.plan("levels", only=ROWS, settings=TINY, seeds=2, device="cpu")
    store = Store(tmp_path)
    said: list[Event] = []

    def again():
        return predict.predict(plan, store, data_root=None, device="cpu", devices=["cpu"] * 2, on_event=said.append)

    first = again()
    assert [event.text for event in said] == ["measuring 2 models, 2 at once", "measuring 1 datasets, 2 at once"]
    assert set(first.runs) == {run.name for run in plan.runs}
    assert first.seconds > max(first.runs.values())
    assert 100 < first.memory < 8000
    assert 0 < first.disk < 100
    assert (first.finished, first.workers) == (0, 2)
    assert again() == first
    assert len(said) == 2


def test_a_run_takes_its_steps_and_its_evaluations() -> None:
    run = make_run(steps=100, validate_every=30)
    sizes = {"train_images": 10, "validation_images": 5, "test_images": 20}
    run = type(run)(**{**run.__dict__, "data": dict(run.data) | sizes})
    cost = ModelCost(setup=1.0, step=0.1, image=0.01, memory=0, weights=0)
    assert run_seconds(run, cost) == pytest.approx(1 + 10 + (4 * 5 + 20) * 0.01)
