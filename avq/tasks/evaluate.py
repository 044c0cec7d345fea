"""Measuring a run's checkpoint; what is measured already under the same code is not measured again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from avq.design.run import Evaluation, Run
from avq.files import write_atomic
from avq.machine import machine_name
from avq.store.layout import PER_IMAGE, RECORD, Store, is_as_written, write_progress
from avq.store.record import of_run, record_frame
from avq.tasks.carry_out import ParentLost
from avq.tasks.images import images_of
from avq.tasks.job import Job
from avq.tasks.train import is_whole
from avq.training.config import CHECKPOINT_FILE

if TYPE_CHECKING:
    from pandas import DataFrame


def is_trained(store: Store, run: Run) -> bool:
    """Whether a run is finished and has a checkpoint, so that new metrics need no training."""
    return store.finished(run) and (store.folder(run) / CHECKPOINT_FILE).exists()


def carry_out(job: Job, store: Store, folder: Path) -> DataFrame:
    """The record of an evaluation; numbers an image lie beside it.

    Raises:
        ParentLost: the checkpoint is damaged.
    """
    import pandas as pd

    from avq.evaluation.evaluate import evaluate
    from avq.training.allocator import give_freed_memory_back
    from avq.training.checkpoint import load_model

    task = cast(Evaluation, job.task)
    home = store.folder(task.run)
    if not is_whole(home / CHECKPOINT_FILE):
        (home / RECORD).unlink(missing_ok=True)
        raise ParentLost(f"{home / CHECKPOINT_FILE} is damaged")
    write_progress(home, "evaluating")
    dataset = images_of(task.run, job.data_root)
    model = load_model(home / CHECKPOINT_FILE)
    give_freed_memory_back()
    missing, earlier = task.missing(store.describe(task)), store.record(task)
    whole = earlier is None or len(missing) == len(task.measures) or not is_as_written(folder / PER_IMAGE)
    measured, images = evaluate(
        model, dataset, task.split, device=job.device, allow_small=task.allow_small, only=None if whole else missing
    )
    new = record_frame(of_run(task.run, machine_name(job.device)), [(task.split, one) for one in measured])
    if not whole and earlier is not None:
        new = pd.concat([earlier[~earlier["metric"].isin(new["metric"])], new], ignore_index=True)
        images = _beside(folder / PER_IMAGE, images)
    write_atomic(folder / PER_IMAGE, images.to_parquet(index=False))
    return pd.concat([new[new["metric"] != "process-memory"], _memory(job, store, task)], ignore_index=True)


def _beside(path: Path, images: DataFrame) -> DataFrame:
    """Numbers an image, those measured before among them."""
    import pandas as pd

    try:
        before = pd.read_parquet(path)
    except (OSError, ValueError):
        return images
    return before.assign(**{name: images[name] for name in images}) if len(before) == len(images) else images


def _memory(job: Job, store: Store, task: Evaluation) -> DataFrame:
    """Peak of the process that trained and evaluated first, which is what a plan predicts; main memory only.

    A later process, which only evaluates, has nothing to say of it.
    """
    from avq.metrics.measurement import measured, protocol_id
    from avq.profiling.memory import peak_memory

    for earlier in (store.record(task), store.record(task.run)):  # the first release had it in the run's
        if earlier is not None and (known := earlier["metric"] == "process-memory").any():
            return earlier[known] if "test" in set(earlier["split"]) else earlier[:0]
    train, device = task.run.train, job.device.partition(":")[0]
    conditions = {"batch": train["batch_size"], "size": task.run.image_size, "precision": train["precision"]}
    protocol = protocol_id("process-memory", **conditions, device=device)
    row = measured("process-memory", peak_memory("cpu"), protocol=protocol)
    return record_frame(of_run(task.run, machine_name(job.device)), [("train", row)])
