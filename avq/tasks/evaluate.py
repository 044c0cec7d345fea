"""Measuring a run's checkpoint; what is measured already under the same code is not measured again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from avq.design.parts import code_now
from avq.design.run import Evaluation, Run
from avq.design.task import Task
from avq.errors import AvqError
from avq.files import write_atomic
from avq.machine import machine_name
from avq.metrics.measures import BASE, measured_after, measured_together
from avq.store.layout import PER_IMAGE, RECORD, Store, is_as_written, write_progress
from avq.store.record import is_failure, of_run, record_frame
from avq.tasks.carry_out import ParentLost
from avq.tasks.images import images_of
from avq.tasks.job import Job
from avq.tasks.train import TRAINED, is_whole
from avq.tasks.train import failed as failed_training
from avq.training.config import CHECKPOINT_FILE

if TYPE_CHECKING:
    from pandas import DataFrame


def is_trained(store: Store, run: Run) -> bool:
    """Whether a run is finished and has a checkpoint, so that new metrics need no training."""
    return store.finished(run) and (store.folder(run) / CHECKPOINT_FILE).exists()


def carry_out(job: Job, store: Store, folder: Path) -> tuple[Evaluation, DataFrame]:
    """The record of an evaluation, and what it is of; numbers an image lie beside it.

    Raises:
        ParentLost: the checkpoint is damaged, or was replaced meanwhile.
        AvqError: it is damaged, and the code that trained it has changed since.
    """
    import pandas as pd

    from avq.evaluation.evaluate import evaluate
    from avq.training.allocator import give_freed_memory_back
    from avq.training.checkpoint import load_model

    task = cast(Evaluation, job.task)
    home = store.folder(task.run)
    checkpoint = home / CHECKPOINT_FILE
    if not is_whole(checkpoint):
        _give_up(home, task.run)
    write_progress(home, "evaluating")
    dataset = images_of(task.run, job.data_root)
    file, model = _state_of(checkpoint), load_model(checkpoint)
    give_freed_memory_back()
    done, earlier = store.describe(task), store.record(task)
    adds = earlier is not None and not is_failure(earlier) and is_as_written(folder / PER_IMAGE)
    missing = task.missing(done if adds else {})
    adds = adds and len(missing) < len(task.measures)
    measured, images = evaluate(
        model, dataset, task.split, device=job.device, allow_small=task.allow_small, precision=task.precision,
        only=missing,
    )  # fmt: skip
    record = record_frame(of_run(task.run, machine_name(job.device)), [(task.split, one) for one in measured])
    memory = _memory(job, store, task)
    if adds:
        assert earlier is not None
        helped = _metrics_of({*BASE} - {*missing})  # measured because others need it: what is there stays
        record, images = record[~record["metric"].isin(helped)], images.drop(columns=[*helped], errors="ignore")
        replaced = _metrics_of(missing) | set(record["metric"]) | set(memory["metric"])
        record = pd.concat([earlier[~earlier["metric"].isin(replaced)], record], ignore_index=True)
        images, task = _beside(folder / PER_IMAGE, images), task.joined(done)
    if _state_of(checkpoint) != file:
        raise ParentLost(f"{checkpoint} was replaced while it was measured")
    write_atomic(folder / PER_IMAGE, images.to_parquet(index=False))
    return task, pd.concat([record, memory], ignore_index=True)


def failed(job: Job, reason: str) -> tuple[Task, DataFrame]:
    """One row of status `failed`, and the evaluation that measured nothing."""
    _, record = failed_training(job, reason)
    return replace(cast(Evaluation, job.task), measures={}), record


def _give_up(home: Path, run: Run) -> NoReturn:
    """Forget the record of a run whose checkpoint is damaged, where it can be trained again."""
    text = f"{home / CHECKPOINT_FILE} is damaged"
    if code_now(run) != run.code:
        raise AvqError(f"{text}, and other code trained it: to train it again, leave out --keep-stale.")
    (home / RECORD).unlink(missing_ok=True)
    raise ParentLost(text)


def _state_of(file: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    return (found.st_ino, found.st_mtime_ns) if file.exists() and (found := file.stat()) else None


def _metrics_of(measures: Collection[str]) -> set[str]:
    """The metrics that some measures measure."""
    found = {**measured_together(), **measured_after()}
    return {metric.name for name in measures for metric in found.get(name, ())}


def _beside(path: Path, images: DataFrame) -> DataFrame:
    """Numbers an image, those measured before among them."""
    import pandas as pd

    try:
        before = pd.read_parquet(path)
    except (OSError, ValueError):
        return images
    return before.assign(**{name: images[name] for name in images}) if len(before) == len(images) else images


def _memory(job: Job, store: Store, task: Evaluation) -> DataFrame:
    """Peak of the process that trained and evaluated, which is what a plan predicts; main memory only."""
    from avq.metrics.measurement import measured, protocol_id, unavailable
    from avq.profiling.memory import peak_memory

    for earlier in (store.record(task), store.record(task.run)):  # the first release had it in the run's
        if earlier is not None and (known := earlier["metric"] == "process-memory").any():
            return earlier[known] if "test" in set(earlier["split"]) else earlier[:0]
    about = of_run(task.run, machine_name(job.device))
    if store.folder(task.run) not in TRAINED:
        reason = "evaluated by another process than the one that trained"
        return record_frame(about, [("train", unavailable("process-memory", reason))])
    train, device = task.run.train, job.device.partition(":")[0]
    conditions = {"batch": train["batch_size"], "size": task.run.image_size, "precision": train["precision"]}
    protocol = protocol_id("process-memory", **conditions, device=device)
    row = measured("process-memory", peak_memory("cpu"), protocol=protocol)
    return record_frame(about, [("train", row)])
