"""The quiet pass of one model, in a process of its own: what its structure tells, and what is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avq.machine import machine_name
from avq.store.record import record_frame, typed
from avq.tasks.job import Job, build_model, prepare

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.design.plan import Run


def cost_job(job: Job) -> DataFrame:
    """The quiet pass of one model: no seed, no split."""
    from avq.profiling.cost import deterministic_costs, quiet_costs
    from avq.training.config import TrainConfig

    prepare(job)
    run = job.run
    # Timed first: the counting's own memory would raise the peak.
    timed = quiet_costs(run.variant, dict(run.model), run.image_size, TrainConfig(**run.train), job.device)
    counted = deterministic_costs(build_model(run), run.image_size)
    frame = record_frame(run, [("", m) for m in [*counted, *timed]], machine_name(job.device))
    return typed(frame.assign(seed=None))


def failed_costs(run: Run, reason: str, machine: str) -> DataFrame:
    """The record of a model whose costs could not be measured: a row of status `failed` for each that is timed."""
    from avq.metrics.measurement import Measurement
    from avq.metrics.registry import METRICS

    line = " ".join(reason.split())
    timed = [metric.name for metric in METRICS.values() if metric.of == "benchmark"]
    rows = [("", Measurement(metric=name, value=None, unit="", status="failed", reason=line)) for name in timed]
    return typed(record_frame(run, rows, machine).assign(seed=None))
