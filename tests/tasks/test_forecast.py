from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_tasks import ROWS, TINY, make_run

from avq import sweep as results
from avq.errors import AvqError
from avq.store.layout import Store
from avq.tasks import forecast as predict
from avq.tasks import job
from avq.tasks.events import Event
from avq.tasks.forecast import ModelCost, run_seconds


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
    assert [entry.run.name for entry in first.plan.entries] == [entry.run.name for entry in plan.entries]


def test_tuning_counts_and_a_finished_sweep_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_LEAST_SECONDS", 0.01)
    path = tmp_path / "mine.toml"
    path.write_text('question="q"\nexpected="e"\n[[rows]]\nvariant="aren-1"\n'
                    "[tune]\nlearning_rate=[1e-7, 1e-2]\nsteps=2\n")  # fmt: skip
    smoke = results.get_preset("smoke")
    monkeypatch.setattr(results, "get_preset", lambda _name: replace(smoke, tune=True))
    plan = results.plan(path, settings=TINY, device="cpu", seeds=2)

    def again():
        return predict.predict(plan, Store(tmp_path / "s"), data_root=None, device="cpu", devices=["cpu"] * 2)

    first = again()
    assert len(first.runs) == 2 + 2
    assert (first.finished, first.untuned) == (0, {"aren-1"})
    results.run(path, settings=TINY, device="cpu", seeds=2, output=tmp_path / "s", workers=2)
    done = again()
    assert (done.finished, dict(done.runs), done.seconds) == (2, {}, 0)
    assert all((tmp_path / "s" / "runs" / entry.run.name).is_dir() for entry in done.plan.entries)  # tuned names
    assert not done.untuned
    monkeypatch.setattr(job, "code_of_evaluation", lambda: "new-metrics")
    later = again()
    assert later.evaluated == set(later.runs)
    assert len(later.runs) == 2 + 2


def test_memory_is_that_of_the_images_where_these_need_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = results.plan("levels", only=["aren-1"], settings=TINY, device="cpu")
    measured = {predict.measure_model: {"setup": 1, "step": 1, "image": 1, "memory": 300, "weights": 1, "state": 3},
                predict.measure_loading: {"seconds": 1, "memory": 700}}  # fmt: skip
    monkeypatch.setattr(predict, "call_all", lambda function, jobs, _devices: (measured[function] for _ in jobs))
    found = predict.predict(plan, Store(tmp_path), data_root=None, device="cpu", devices=["cpu"])
    assert found.memory == 700


def test_what_was_measured_before_an_error_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = results.plan("levels", only=ROWS, settings=TINY, device="cpu")
    cost = {"setup": 1, "step": 1, "image": 1, "memory": 300, "weights": 1, "state": 3}

    def interrupted(_function: object, _jobs: object, _devices: object):
        yield cost
        raise AvqError("stopped")

    monkeypatch.setattr(predict, "call_all", interrupted)
    with pytest.raises(AvqError, match="stopped"):
        predict.predict(plan, Store(tmp_path), data_root=None, device="cpu", devices=["cpu"])
    assert len(list(Store(tmp_path).costs.glob("prediction-*"))) == 1


def test_a_run_takes_its_steps_and_its_evaluations() -> None:
    run = make_run(steps=100, validate_every=30)
    sizes = {"train_images": 10, "validation_images": 5, "test_images": 20}
    run = type(run)(**{**run.__dict__, "data": dict(run.data) | sizes})
    cost = ModelCost(setup=1.0, step=0.1, image=0.01, memory=0, weights=0, state=0)
    assert run_seconds(run, cost) == pytest.approx(1 + 10 + (4 * 5 + 20) * 0.01)
    assert run_seconds(run, cost, trained=True) == pytest.approx(20 * 0.01)
