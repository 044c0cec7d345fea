"""The isolated benchmark of one model: counted from its structure, and timed in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from avq.design.run import Costs
from avq.metrics.registry import METRICS
from avq.store.layout import Store
from avq.store.record import failed_cell, of_run, record_frame
from avq.tasks.job import Job

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.metrics.measurement import Measurement


def carry_out(job: Job, _store: Store, _folder: Path) -> tuple[Costs, DataFrame]:
    """The record of a model's costs: no seed, no split."""
    from avq.profiling.cost import deterministic_costs, timed_costs
    from avq.training.config import TrainConfig
    from avq.training.fresh import fresh_model

    task = cast(Costs, job.task)
    run = task.run
    # Timed first: the counting's own memory would raise the peak.
    timed = timed_costs(run.recipe, TrainConfig(**run.train), job.device)
    counted = deterministic_costs(fresh_model(run.recipe, run.seed), run.image_size)
    return _recorded(task, [*counted, *timed])


def failed(job: Job, reason: str) -> tuple[Costs, DataFrame]:
    """A row of status `failed` for each cost that is timed."""
    timed = [metric.name for metric in METRICS.values() if metric.of == "benchmark"]
    return _recorded(cast(Costs, job.task), [failed_cell(name, reason) for name in timed])


def _recorded(task: Costs, measurements: Sequence[Measurement]) -> tuple[Costs, DataFrame]:
    about = of_run(task.run, task.machine) | {"seed": None}
    return task, record_frame(about, [("", measurement) for measurement in measurements])
