"""What a training shows while it goes on: a log that grows without double steps, TensorBoard's files, `status`."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from made_tasks import TINY, measure

from avq.design.run import Evaluation
from avq.errors import UsageError
from avq.run_status import status
from avq.store.layout import LOG, Store
from avq.sweep import plan, run
from avq.tasks.carry_out import run_task
from avq.tasks.job import Job
from avq.tasks.watch import add_to_log, check_tensorboard, read_log
from avq.training import trainer
from avq.training.checkpoint import read_tensors
from avq.training.config import CHECKPOINT_FILE
from avq.training.trainer import Progress


class Stop(Exception):
    """What a kill leaves is a log and a state."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    settings = TINY | {"steps": 10, "validate_every": 2}
    (made,) = plan("levels", only=["aren-1"], settings=settings, device="cpu").runs
    Store(tmp_path).prepare()
    return Job(Evaluation(made, {"mae": measure("code")}, "code"), tmp_path, None, "cpu")


def folder_of(job: Job) -> Path:
    return Store(job.root).folder(job.run)


def test_the_log_is_read_exactly_and_a_step_stands_once(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    for step, loss in [(2.0, 0.1 + 0.2), (4.0, 1 / 3), (6.0, 0.5), (4.0, 0.25)]:  # killed, gone on with from 3
        add_to_log(tmp_path, {"step": step, "loss": loss})
    assert read_log(tmp_path) == [{"step": 2.0, "loss": 0.1 + 0.2}, {"step": 4.0, "loss": 0.25}]


@pytest.mark.parametrize("text", ["", "step,loss\n1.0\n", "step,loss\n1.0,abc\n", "\x00"])
def test_a_damaged_log_is_no_log(tmp_path: Path, text: str) -> None:
    (tmp_path / LOG).write_text(text)
    assert read_log(tmp_path) == []
    add_to_log(tmp_path, {"step": 2.0, "loss": 0.5})
    assert read_log(tmp_path) == [{"step": 2.0, "loss": 0.5}]


def stopped_at(step: int, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the job after that step; its last state is of two steps before."""
    save = trainer._Training._save
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_SECONDS_BETWEEN_STATES", 0.0)
        patch.setattr(trainer, "_SECONDS_BETWEEN_REPORTS", 0.0)
        patch.setattr(trainer._Training, "_save", lambda self, path: save(self, path) if self.step < step - 1 else None)

        def stop(_folder: Path):
            def write(progress: Progress) -> None:
                if progress.step == step:
                    raise Stop

            return write

        patch.setattr("avq.tasks.train.progress_writer", stop)
        assert "Stop" in run_task(job).text


def test_the_log_grows_during_training_and_survives_a_kill(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_at(6, job, monkeypatch)
    assert [row["step"] for row in read_log(folder_of(job))] == [2, 4, 6]
    [found] = status(job.root)
    last = read_log(folder_of(job))[-1]
    assert found.validation_mae == last["validation-mae"]
    assert found.perplexity == (last["perplexity-1"],)
    assert run_task(job).kind == "done"
    assert [row["step"] for row in read_log(folder_of(job))] == [2, 4, 6, 8, 10]
    [found] = status(job.root)
    assert (found.state, found.loss) == ("done", read_log(folder_of(job))[-1]["loss"])


def test_tensorboard_tells_what_the_log_tells_and_shows_pictures(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    watched = replace(job, tensorboard=True)
    stopped_at(6, watched, monkeypatch)
    assert run_task(watched).kind == "done"
    events = accumulators.EventAccumulator(str(folder_of(job) / "tensorboard"), {"images": 0}).Reload()
    log = read_log(folder_of(job))
    assert set(events.Tags()["scalars"]) == set(log[0]) - {"step"}
    for name in ("loss", "validation-mae", "perplexity-1", "learning-rate"):
        points = [(event.step, event.value) for event in events.Scalars(name)]
        assert points == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in log], name
    [tag] = events.Tags()["images"]
    pictures = events.Images(tag)
    assert [picture.step for picture in pictures] == [2, 4, 6, 8, 10]
    assert len({picture.encoded_image_string for picture in pictures}) == 5  # the model learns


def test_being_watched_changes_nothing(job: Job, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    watched = replace(job, root=tmp_path / "watched", tensorboard=True)
    Store(watched.root).prepare()
    assert run_task(job).kind == run_task(watched).kind == "done"
    mine, theirs = (read_tensors(folder_of(each) / CHECKPOINT_FILE)[0] for each in (job, watched))
    assert all((tensor == theirs[name]).all() for name, tensor in mine.items())
    assert not (folder_of(job) / "tensorboard").exists()


def test_without_tensorboard_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_tensorboard()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'avq-bench\[tensorboard\]'"):
        run("levels", output=tmp_path / "store", tensorboard=True)
    assert not (tmp_path / "store").exists()
