"""Measuring a run: again from its kept checkpoint, and putting what was measured in its place."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from avq.files import write_atomic, write_json
from avq.machine import machine_name
from avq.store.layout import Store, write_progress
from avq.store.record import record_frame
from avq.tasks.job import CHECKPOINT, Job
from avq.training.config import STATE_FILE

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.metrics.measurement import Measurement


def evaluate_again(job: Job, store: Store, folder: Path, record: DataFrame) -> None:
    """The metrics changed: measure the kept checkpoint. What training recorded stays."""
    import pandas as pd

    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import evaluate
    from avq.training.checkpoint import load_model

    write_progress(folder, "evaluating")
    dataset = load_dataset(DataConfig(**job.run.data), job.data_root)
    model = load_model(folder / CHECKPOINT)
    measured, images = evaluate(model, dataset, "test", device=job.device, allow_small=job.measures.allow_small)
    new = record_frame(job.run, on_test(measured), machine_name(job.device))
    (folder / "evaluation.json").unlink(missing_ok=True)  # the new hash must never stand beside the old record
    finish(job, store, folder, pd.concat([record[record["split"] != "test"], new], ignore_index=True), images)


def finish(job: Job, store: Store, folder: Path, record: DataFrame, images: DataFrame) -> None:
    """Write a run's record, what it was measured with and its numbers an image; the training's state goes."""
    write_atomic(folder / "per_image.parquet", images.to_parquet(index=False))
    measures = asdict(job.measures)
    if store.record(job.run) is None:
        write_json(folder / "evaluation.json", measures)
        store.write_record(folder, record)
    else:
        store.write_record(folder, record)
        write_json(folder / "evaluation.json", measures)
    with suppress(OSError):
        (folder / STATE_FILE).unlink(missing_ok=True)
    write_progress(folder, "done", steps=job.run.train["steps"], step=job.run.train["steps"])


def on_test(measured: list[Measurement]) -> list[tuple[str, Measurement]]:
    """Pairs of split and measurement, as `record_frame` takes them."""
    return [("test", measurement) for measurement in measured]
