from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_tasks import ROWS, TINY, change_code

from avq import prediction, sweep
from avq.errors import AvqError
from avq.prediction import predict
from avq.store.layout import Store
from avq.sweep import plan, run
from avq.tasks.events import Event


def test_a_prediction_is_measured_once_and_adds_up(tmp_path: Path) -> None:
    made = plan("levels", only=ROWS, settings=TINY, seeds=2, device="cpu")
    store = Store(tmp_path)
    said: list[Event] = []

    def again():
        return predict(made, store, data_root=None, device="cpu", devices=["cpu"] * 2, on_event=said.append)

    first = again()
    assert [event.text for event in said] == ["measuring 2 models, 2 at once", "measuring 1 datasets, 2 at once"]
    assert set(first.runs) == {one.name for one in made.runs}
    assert first.seconds > max(first.runs.values())
    assert 100 < first.memory < 8000
    assert 0 < first.disk < 100
    assert (first.finished, first.workers) == (0, 2)
    assert again() == first
    assert len(said) == 2
    assert [entry.run.name for entry in first.plan.entries] == [entry.run.name for entry in made.entries]


def test_tuning_counts_and_a_finished_sweep_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('question="q"\nexpected="e"\n[[rows]]\nvariant="aren-1"\n'
                    "[tune]\nlearning_rate=[1e-7, 1e-2]\nsteps=2\n")  # fmt: skip
    smoke = sweep.get_preset("smoke")
    monkeypatch.setattr(sweep, "get_preset", lambda _name: replace(smoke, tune=True))
    made = plan(path, settings=TINY, device="cpu", seeds=2)

    def again():
        return predict(made, Store(tmp_path / "s"), data_root=None, device="cpu", devices=["cpu"] * 2)

    first = again()
    assert len(first.runs) == 2 + 2
    assert (first.finished, first.untuned) == (0, {"aren-1"})
    run(path, settings=TINY, device="cpu", seeds=2, output=tmp_path / "s", workers=2)
    done = again()
    assert (done.finished, dict(done.runs), done.seconds) == (2, {}, 0)
    assert all((tmp_path / "s" / "runs" / entry.run.name).is_dir() for entry in done.plan.entries)  # tuned names
    assert not done.untuned
    change_code(monkeypatch, "avq.evaluation.evaluate")
    later = again()
    assert later.evaluated == set(later.runs)
    assert len(later.runs) == 2, "trials are not evaluated"


def test_what_was_measured_before_an_error_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan("levels", only=ROWS, settings=TINY, device="cpu")
    cost = {"setup": 1, "step": 1, "image": 1, "memory": 300, "weights": 1, "state": 3}

    def interrupted(_function: object, _jobs: object, _devices: object):
        yield cost
        raise AvqError("stopped")

    monkeypatch.setattr(prediction, "call_all", interrupted)
    with pytest.raises(AvqError, match="stopped"):
        predict(made, Store(tmp_path), data_root=None, device="cpu", devices=["cpu"])
    assert len(list(Store(tmp_path).costs.glob("forecast-*"))) == 1
