"""One run in this process, with a real tiny model: what is kept when something goes wrong after the training."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_tasks import TINY, change_code, make_run, measure

import avq.evaluation.evaluate as evaluation
import avq.training.trainer as trainer
from avq.design.run import Evaluation
from avq.errors import AvqError, UsageError
from avq.execution.local import Active, _outcome
from avq.files import read_json, write_json
from avq.metrics.measures import BASE, measured_after
from avq.run_status import status
from avq.store.layout import Store, lock
from avq.store.record import is_failure
from avq.sweep import plan
from avq.tasks.carry_out import run_task
from avq.tasks.job import Job
from avq.training.config import STATE_FILE

MAE, SSIM = NAMES = ["avq.metrics.error:MeanAbsoluteError", "avq.metrics.structure:ssim"]


class Dead:
    """A process that was killed."""

    def result(self) -> None:
        raise AvqError("its process was killed by SIGKILL")


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("boom")


def never(*_: object, **__: object) -> None:
    raise AssertionError("trained again")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    run = plan("levels", only=["aren-1"], settings=TINY, device="cpu").runs[0]
    Store(tmp_path).prepare()
    return Job(Evaluation(run, {MAE: measure("1")}, "code"), tmp_path, None, "cpu")


def measuring(job: Job, **codes: str) -> Job:
    """The job with other measures, by the last word of their names."""
    measures = {name: measure(codes[name.rpartition(":")[2]]) for name in NAMES if name.rpartition(":")[2] in codes}
    return replace(job, task=replace(job.task, measures=measures))  # type: ignore[type-var]


def metrics_of(job: Job) -> dict[str, str]:
    """The metrics of a job's record and their status."""
    record = Store(job.root).record(job.task)
    assert record is not None
    assert not record.duplicated(["metric", "level"]).any()
    return dict(zip(record["metric"], record["status"], strict=True))


def folder_of(job: Job) -> Path:
    return Store(job.root).folder(job.run)


def test_a_failed_evaluation_leaves_the_record_and_the_next_call_only_evaluates(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_task(job).kind == "done"
    record = folder_of(job) / "evaluation-test" / "record.csv"
    before = record.read_bytes()
    again = measuring(job, MeanAbsoluteError="2")
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", broken)
        outcome = run_task(again)
    assert (outcome.kind, "boom" in outcome.text) == ("failed", True)
    assert _outcome(Active(again, Dead(), "cpu", 0.0)).kind == "failed"  # type: ignore[arg-type]
    assert record.read_bytes() == before
    progress = read_json(folder_of(job) / "progress.json")
    assert (progress["state"], progress["reason"]) == ("done", "its process was killed by SIGKILL")
    monkeypatch.setattr(trainer, "train", never)
    assert run_task(again).kind == "done"
    assert Store(job.root).describe(again.task)["content"]["measures"] == {MAE: measure("2")}


def test_a_model_without_codes_is_trained_and_measured(tmp_path: Path) -> None:
    settings = {name: value for name, value in TINY.items() if name != "codebook_size"} | {"quantizer": "none"}
    run = plan("levels", only=["aren-2"], settings=settings, device="cpu").runs[0]
    measures = {name: measure("1") for name in (*NAMES, *BASE, *measured_after())}
    job = Job(Evaluation(run, measures, "code"), tmp_path, None, "cpu")
    assert run_task(job).kind == "done"
    found = metrics_of(job)
    assert (found["mae"], found["mae-gap"], found["perplexity"], "knockout-mae" in found) == ("ok", "ok", "n/a", False)


def test_what_is_trained_is_evaluated_and_not_trained_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", broken)
        assert run_task(job).kind == "failed"
    assert is_failure(Store(job.root).results(job.run))  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train", never)
        assert run_task(job).kind == "done"
        assert metrics_of(job)["mae"] == "ok"
        whole = (folder_of(job) / "record.csv").read_bytes()
        assert b"training-time" in whole
        assert b"validation-mae" in whole
        (folder_of(job) / "record.csv").write_bytes(whole[:40])  # damaged from outside
        assert run_task(job).kind == "done"
    assert (folder_of(job) / "record.csv").read_bytes() == whole


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "log.csv"])
def test_what_is_not_whole_is_trained_again(job: Job, name: str) -> None:
    assert run_task(job).kind == "done"
    (folder_of(job) / "record.csv").unlink()
    (folder_of(job) / name).write_bytes((folder_of(job) / name).read_bytes()[:60])
    assert run_task(job).kind == "done"
    assert Store(job.root).finished(job.run)


def test_what_was_measured_of_an_earlier_model_goes_with_it(job: Job) -> None:
    assert run_task(job).kind == "done"
    record = folder_of(job) / "evaluation-test" / "record.csv"
    record.write_text(record.read_text().replace(",mae,", ",of-another-model,"))
    (folder_of(job) / "checkpoint.safetensors").write_bytes(b"damaged")
    assert run_task(measuring(job, MeanAbsoluteError="2")).kind == "done"
    assert "of-another-model" not in record.read_text()


def test_a_run_that_another_command_evaluates_is_not_begun_afresh(job: Job) -> None:
    assert run_task(job).kind == "done"
    with lock(folder_of(job) / "evaluation-test"):
        assert run_task(replace(job, fresh=True)).kind == "busy"
    assert run_task(replace(job, fresh=True)).kind == "done"


def test_what_is_measured_already_is_not_measured_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new measure is added, a changed one replaced; numbers an image of the others stay."""
    assert run_task(job).kind == "done"
    asked: list[object] = []
    real = evaluation.evaluate

    def watched(*arguments: object, **more: object) -> object:
        asked.append(more["only"])
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "evaluate", watched)
    assert run_task(measuring(job, MeanAbsoluteError="1", ssim="1")).text == "trained before, measured now"
    assert run_task(measuring(job, MeanAbsoluteError="1", ssim="1")).text == "reused"
    assert run_task(measuring(job, MeanAbsoluteError="1", ssim="2")).kind == "done"
    assert asked == [[SSIM], [SSIM]]
    assert {"mae", "ssim"} <= metrics_of(job).keys()
    images = pd.read_parquet(folder_of(job) / "evaluation-test" / "per_image.parquet")
    assert {"mae", "ssim"} <= set(images)


def test_what_only_helps_a_new_measure_replaces_nothing(job: Job) -> None:
    """Knock-out needs the MAE of the same pass; the record keeps the one that is there, weights or not."""
    assert run_task(job).kind == "done"
    folder = folder_of(job) / "evaluation-test"
    before = [line for line in (folder / "record.csv").read_text().splitlines() if ",mae," in line]
    images = pd.read_parquet(folder / "per_image.parquet")
    adds = {MAE: measure("1"), "avq.evaluation.knockout:measure": measure("1")}
    assert run_task(replace(job, task=replace(job.task, measures=adds))).kind == "done"  # type: ignore[type-var]
    after = (folder / "record.csv").read_text().splitlines()
    assert [line for line in after if ",mae," in line] == before
    assert "knockout-mae" in metrics_of(job)
    assert not {"perplexity", "lpips-squeeze"} & metrics_of(job).keys()
    assert list(pd.read_parquet(folder / "per_image.parquet")) == list(images)


def test_what_a_measure_no_longer_gives_leaves_the_record(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    both = measuring(job, MeanAbsoluteError="1", ssim="1")
    assert run_task(both).kind == "done"
    real = evaluation.evaluate

    def without_sigma(*arguments: object, **more: object) -> object:
        measured, images = real(*arguments, **more)  # type: ignore[arg-type]
        return [one for one in measured if one.metric != "mae-sigma"], images

    monkeypatch.setattr(evaluation, "evaluate", without_sigma)
    assert "mae-sigma" in metrics_of(job)
    assert run_task(measuring(job, MeanAbsoluteError="2", ssim="1")).kind == "done"
    assert {"mae", "ssim"} <= metrics_of(job).keys()
    assert "mae-sigma" not in metrics_of(job)
    only_mae = replace(job, task=replace(job.task, code="new"))  # type: ignore[type-var]
    assert run_task(only_mae).kind == "done"  # other code of the evaluation: only what is wanted now stays
    assert "ssim" not in metrics_of(job)
    assert Store(job.root).describe(job.task)["content"]["measures"] == {MAE: measure("1")}


def test_the_process_that_only_evaluates_knows_no_memory_of_training(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from avq.tasks import train

    monkeypatch.setattr(train, "TRAINED", set())
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", broken)
        assert run_task(job).kind == "failed"
    train.TRAINED.clear()
    monkeypatch.setattr("avq.tasks.evaluate.TRAINED", train.TRAINED)
    assert run_task(job).kind == "done"
    assert metrics_of(job)["process-memory"] == "n/a"


def test_a_run_of_other_code_is_neither_trained_by_this_nor_forgotten(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(job, task=replace(job.task, run=replace(job.run, code="0ther")))  # type: ignore[type-var]
    assert "code has changed since this run was planned" in run_task(other).text
    assert run_task(job).kind == "done"
    change_code(monkeypatch, "avq.training.trainer")
    assert run_task(measuring(job, ssim="1")).kind == "done"
    (folder_of(job) / "checkpoint.safetensors").write_bytes(b"damaged")
    assert "leave out --keep-stale" in run_task(measuring(job, ssim="2")).text
    assert Store(job.root).finished(job.run)


def test_images_that_changed_since_they_were_planned_are_not_trained_on(job: Job) -> None:
    other = replace(job, task=replace(job.task, run=replace(job.run, images="another")))  # type: ignore[type-var]
    assert "images of synthetic-faces have changed" in run_task(other).text


def test_a_checkpoint_that_stays_damaged_is_a_failure(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avq.tasks.evaluate.is_whole", lambda _path: False)
    outcome = run_task(job)
    assert (outcome.kind, "made anew" in outcome.text) == ("failed", True)


def test_a_checkpoint_that_is_replaced_while_it_is_measured(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_task(job).kind == "done"
    real, replaced = evaluation.evaluate, []

    def replacing(*arguments: object, **more: object) -> object:
        if not replaced:
            os.utime(folder_of(job) / "checkpoint.safetensors", ns=(1, 1))
        replaced.append(True)
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "evaluate", replacing)
    assert run_task(measuring(job, MeanAbsoluteError="2")).kind == "done"
    assert len(replaced) == 2


def test_the_state_outlives_an_error_that_has_nothing_to_do_with_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from avq.tasks import train

    def vanished(*_: object) -> None:
        raise UsageError("no data here")

    assert run_task(replace(job, stop_at=0.0)).kind == "stopped"
    state = (folder_of(job) / STATE_FILE).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(train, "images_of", vanished)
        assert run_task(job).text == "no data here"
    assert (folder_of(job) / STATE_FILE).read_bytes() == state
    (folder_of(job) / STATE_FILE).write_bytes(state[:1000])
    assert run_task(job).kind == "done"  # a state that cannot be read is given up
    assert not (folder_of(job) / STATE_FILE).exists()


def test_a_loss_that_is_nan_forgets_the_state_even_where_nothing_can_be_removed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avq.training.diagnose import NonFiniteLoss

    def diverged(*_: object, **__: object) -> None:
        raise NonFiniteLoss("the loss is nan")

    def read_only(path: Path, missing_ok: bool = False) -> None:
        if path.name == STATE_FILE:
            raise OSError(30, "Read-only file system")
        path.exists() and os.unlink(path)  # noqa: PTH108

    monkeypatch.setattr(trainer, "train", diverged)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        assert run_task(job).text == "the loss is nan"
    folder_of(job).joinpath(STATE_FILE).write_bytes(b"")
    assert run_task(job).text == "the loss is nan"
    assert not (folder_of(job) / STATE_FILE).exists()


def test_a_damaged_record_of_older_code_is_passed_over(tmp_path: Path) -> None:
    store, old, new = Store(tmp_path), make_run(code="old"), make_run(code="new")
    write_json(store.folder(old) / "task.json", old.describe())
    (store.folder(old) / "record.csv").write_text("schema_ver")
    assert store.other_codes(new) == []


def test_a_run_that_is_out_of_time_has_no_record_and_goes_on(job: Job) -> None:
    outcome = run_task(replace(job, stop_at=0.0))
    assert outcome.kind == "stopped"
    assert outcome.text.startswith("aren-1: stopped after step 0 of ")
    assert Store(job.root).record(job.run) is None
    assert (folder_of(job) / STATE_FILE).exists()
    assert [(one.run, one.state) for one in status(job.root)] == [(job.run.name, "stopped")]
    assert run_task(replace(job, stop_at=time.time() + 3600)).kind == "done"
