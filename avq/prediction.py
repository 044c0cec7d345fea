"""What a plan will take, from a few real steps of every distinct model under the sweep's own load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from avq.design.evaluations import evaluation_of
from avq.design.plan import Plan
from avq.design.run import Run
from avq.execution.local import call_all
from avq.machine import machine_name
from avq.store.assembly import costs_of
from avq.store.layout import Store
from avq.tasks import tune
from avq.tasks.evaluate import is_trained
from avq.tasks.events import OnEvent
from avq.tasks.forecast import Known, ModelCost, measure, schedule
from avq.tasks.job import Job, environment_now

_START_SERVER = 4.0  # importing torch once, s
_START_PROCESS = 0.5
_BENCHMARK_CALLS = 7  # two to warm up, five timed
T = TypeVar("T")

_COUNTING = 0.5  # counting parameters, MACs and receptive fields, s


@dataclass(frozen=True)
class Prediction:
    """What a plan will take.

    Attributes:
        seconds: until everything is done, isolated benchmarks included.
        memory: MiB at once, of the workers that need the most.
        disk: MiB that the store will grow by at most while it works.
        plan: the plan, with the learning rates that finished trials chose.
        runs: seconds of every run that is still to be done, by its name in `plan`; trials of learning rates among
            them.
        evaluated: those of `runs` that are trained, and only to be measured again.
        untuned: labels of rows whose learning rate trials have yet to choose, and with it their runs' names.
        finished: runs that are there already, trials not counted.
        workers: runs at once.
    """

    seconds: float
    memory: float
    disk: float
    plan: Plan
    runs: Mapping[str, float]
    evaluated: frozenset[str]
    untuned: frozenset[str]
    finished: int
    workers: int


def predict(
    plan: Plan,
    store: Store,
    *,
    data_root: Path | None,
    device: str,
    devices: Sequence[str],
    plugins: Sequence[str] = (),
    on_event: OnEvent = lambda _event: None,
) -> Prediction:
    """Measure what is not measured yet (and store it), and add up.

    Where learning rates are tuned and the trials are finished, the runs are those with the chosen rates.

    Args:
        devices: one per worker, as `execution.local.slots` returns them.

    Raises:
        AvqError: a model cannot even take a step here; the line says why.
    """
    store.prepare()
    trials = tune.trials(plan)
    short = [run for run in tune.distinct(trials) if not store.finished(run)]
    final = plan if short else tune.tuned(plan, tune.chosen(trials, store))
    long = [run for run in final.runs if not (store.finished(run) and store.finished(evaluation_of(run)))]
    todo = list(dict.fromkeys([*short, *long]))
    environment = environment_now()
    jobs = [Job(run, store.root, data_root, device, tuple(plugins), environment=environment) for run in todo]
    known = Known(store, machine_name(device), len(devices))
    measure(known, jobs, devices, on_event, call_all)
    costs = {run: _found(known.model(run)) for run in todo}
    seconds = {run.name: _START_PROCESS + _found(known.images(run)).seconds
               + _found(known.seconds(run, is_trained(store, run))) for run in todo}  # fmt: skip
    models = {costs_of(run, known.machine): run for run in todo}
    benchmarks = sum(_benchmark_seconds(run, costs[run]) for task, run in models.items() if not store.finished(task))
    total = schedule(seconds.values(), [0.0] * len(devices))
    memory = sorted((_found(known.memory(run)) for run in todo), reverse=True)
    states = sorted((cost.state for cost in costs.values()), reverse=True)
    return Prediction(
        seconds=total + benchmarks + _START_SERVER if todo else 0.0,
        memory=sum(memory[: len(devices)]),
        disk=sum(cost.weights for cost in costs.values()) + sum(states[: len(devices)]) + 0.5 * len(todo),
        plan=final,
        runs=seconds,
        evaluated=frozenset(run.name for run in todo if is_trained(store, run)),
        untuned=frozenset(trials) if short else frozenset(),
        finished=len(final.runs) - len(long),
        workers=len(devices),
    )


def _found(value: T | None) -> T:
    """What `measure` has just measured."""
    assert value is not None
    return value


def _benchmark_seconds(run: Run, cost: ModelCost) -> float:
    calls = _BENCHMARK_CALLS * (cost.step + cost.image * int(run.train["batch_size"]))
    return _START_PROCESS + _COUNTING + calls
