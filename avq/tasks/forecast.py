"""Measuring what a run will take: a few steps of its model, and the loading of its images, each stored."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from avq.design.parts import forecast_code, loading_code
from avq.design.run import Forecast, Loading, Run
from avq.errors import AvqError
from avq.store.layout import Store
from avq.tasks.events import Event, OnEvent
from avq.tasks.job import Job, prepare

_UNKNOWN_IMAGES = 2000

CallAll = Callable[[Callable[[Job], Any], Sequence[Job], Sequence[str]], Generator[Any, None, None]]


@dataclass(frozen=True)
class ModelCost:
    """What one model takes, measured beside as many others as there are workers: `few_steps.measure_run`."""

    setup: float
    step: float
    image: float
    memory: float
    weights: float
    state: float


@dataclass(frozen=True)
class LoadingCost:
    """What the loading of images takes: `few_steps.measure_loading`."""

    seconds: float
    memory: float
    held: float


@dataclass(frozen=True)
class Known:
    """What the store holds of the runs to come, as measured on a machine beside as many others as it has workers."""

    store: Store
    machine: str
    workers: int

    def tasks(self, run: Run) -> tuple[Forecast, Loading]:
        """The tasks that measure a run's model and its images."""
        model = Forecast(run, self.machine, forecast_code(run), self.workers)
        return model, Loading(run, self.machine, loading_code(run.dataset), self.workers)

    def model(self, run: Run) -> ModelCost | None:
        """What a run's model takes; None where it was not measured."""
        found = self.store.result(self.tasks(run)[0])
        return ModelCost(**found) if found else None

    def images(self, run: Run) -> LoadingCost | None:
        """What a run's images take; None where it was not measured."""
        found = self.store.result(self.tasks(run)[1])
        return LoadingCost(**found) if found else None

    def memory(self, run: Run) -> float | None:
        """MiB of main memory that a run takes at its peak; None where it was not measured."""
        model, images = self.model(run), self.images(run)
        return max(model.memory + images.held, images.memory) if model and images else None

    def seconds(self, run: Run, trained: bool = False) -> float | None:
        """One run's time, without its start and the loading of its images; of a `trained` one, that of its evaluation.

        None where its model was not measured.
        """
        cost = self.model(run)
        if cost is None:
            return None
        validation, test = _split_sizes(run)
        if trained:
            return test * cost.image
        steps = 0 if cost.step == 0 else int(run.train["steps"])
        points = -(-steps // int(run.train["validate_every"]))
        return cost.setup + steps * cost.step + (points * validation + test) * cost.image


def measure(known: Known, jobs: Sequence[Job], devices: Sequence[str], on_event: OnEvent, call: CallAll) -> None:
    """Measure of every distinct model, and of every distinct set of images, what the store does not hold yet.

    Args:
        known: where it is stored.
        jobs: those of the runs.
        devices: one a worker.
        on_event: is called with what is measured.
        call: yields the result of every job in a process of its own.

    Raises:
        AvqError: a model cannot even take a step here; the line says why.
    """
    runs = {job.run: job for job in jobs}
    for index, function, words in ((0, _measure_run, "models"), (1, _measure_loading, "datasets")):
        tasks = {known.tasks(run)[index]: job for run, job in runs.items()}
        missing = [(task, job) for task, job in tasks.items() if not known.store.finished(task)]
        if not missing:
            continue
        text = f"measuring {len(missing)} {words}, {len(devices)} at once"
        on_event(Event("message", text=text))
        # Filled up, so that the last ones too are measured beside others.
        filled = [missing[at % len(missing)] for at in range(-(-len(missing) // len(devices)) * len(devices))]
        with closing(call(function, [job for _, job in filled], devices)) as results:
            for (task, _), result in zip(missing, results, strict=False):
                if isinstance(result, AvqError):
                    raise AvqError(f"{task.run.variant} cannot run here: {result}")
                known.store.write_result(task, result)


def _measure_run(job: Job) -> dict[str, float]:
    from avq.profiling.few_steps import measure_run
    from avq.training.config import TrainConfig
    from avq.training.fresh import fresh_model

    prepare(job)
    run = job.run
    return measure_run(
        lambda: fresh_model(run.recipe, run.seed),
        run.image_size,
        TrainConfig(**run.train),
        job.device,
    )


def _measure_loading(job: Job) -> dict[str, float]:
    from avq.data.config import DataConfig
    from avq.profiling.few_steps import measure_loading

    prepare(job)
    return measure_loading(DataConfig(**job.run.data), job.data_root)


def _split_sizes(run: Run) -> tuple[int, int]:
    from avq.data.config import DataConfig, resolve

    data = resolve(DataConfig(**run.data))
    return data.validation_images or _UNKNOWN_IMAGES, data.test_images or _UNKNOWN_IMAGES


def schedule(durations: Iterable[float], loads: Sequence[float]) -> float:
    """When the last of `durations` ends, given in order to whichever worker is free first.

    Args:
        durations: seconds.
        loads: seconds for which each worker is busy already.
    """
    workers = list(loads)
    heapq.heapify(workers)
    for seconds in durations:
        heapq.heapreplace(workers, workers[0] + seconds)
    return max(workers)
