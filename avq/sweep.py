"""The sweep: every run of an ablation that is not in the store yet, then the experiment's table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.design.ablation import Ablation, load_ablation
from avq.design.evaluations import evaluation_of
from avq.design.plan import Choices, Plan, make_plan
from avq.design.presets import get_preset
from avq.design.run import Run
from avq.design.task import Task
from avq.errors import AvqError, UsageError
from avq.execution.eta import TimeLeft
from avq.execution.executors import Executor, opened
from avq.files import DiskError
from avq.metrics.weights import missing_weights
from avq.plugins import load_plugins
from avq.store.assembly import assemble, costs_of
from avq.store.experiment import read_plan
from avq.store.layout import Store
from avq.store.merge import merge
from avq.tasks import tune
from avq.tasks.carry_out import fail, lineage, run_task
from avq.tasks.events import Event, OnEvent
from avq.tasks.forecast import Known
from avq.tasks.job import Job, environment_now
from avq.tasks.watch import check_tensorboard

if TYPE_CHECKING:
    from pandas import DataFrame


def plan(
    ablation: str | Path | Ablation,
    *,
    preset: str = "smoke",
    dataset: str | None = None,
    data_root: str | Path | None = None,
    only: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    plugins: Sequence[str] = (),
) -> Plan:
    """What `run` would do with the same arguments, before a learning rate is tuned. Errors as `run`."""
    from avq.training.precision import resolve_device

    load_plugins(plugins)
    return _planned(ablation, preset, Choices(settings or {}, dataset, only, seeds), data_root, resolve_device(device))


def _planned(
    ablation: str | Path | Ablation, preset: str, choices: Choices, data_root: str | Path | None, device: str
) -> Plan:
    loaded = ablation if isinstance(ablation, Ablation) else load_ablation(ablation)
    made = make_plan(loaded, get_preset(preset), choices, data_root=_path(data_root), device=device)
    _look(made, device)
    return made


def run(
    ablation: str | Path | Ablation,
    *,
    preset: str = "smoke",
    dataset: str | None = None,
    data_root: str | Path | None = None,
    only: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path = "avq-runs",
    device: str = "auto",
    workers: int | None = None,
    fresh: bool = False,
    keep_stale: bool = False,
    allow_small: bool = False,
    evaluation_precision: str = "auto",
    plugins: Sequence[str] = (),
    executor: str = "local",
    address: str | None = None,
    tensorboard: bool = False,
    max_minutes: float | None = None,
    on_event: OnEvent | None = None,
) -> DataFrame:
    """Train every run of an ablation that is not in the store yet, and give the experiment's table.

    Args:
        ablation: a name (`ablation_levels`), a path to a TOML file, or an `Ablation`.
        preset: a budget: `smoke`, `small`, `full` or `paper`.
        dataset: images instead of the preset's.
        data_root: folder that holds the datasets.
        only: rows, by label or variant; default: the preset's choice.
        seeds: how many (3 is 0, 1, 2), or which.
        settings: overrides of any setting of model, training or data.
        output: the store.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: runs at once; default one a core, or one a GPU.
        fresh: train again what is there.
        keep_stale: let runs of older code stand for those that changed code would train again, and mark them; metrics
            that they lack are computed from their checkpoints.
        allow_small: give Fréchet distances of fewer images than they need, and mark them.
        evaluation_precision: of the models in evaluation: `auto`, `float32` or `bfloat16`.
        plugins: modules that register variants.
        executor: `local` (processes of this machine) or `ray` (a cluster; the store must lie where all its nodes
            see it).
        address: of the cluster, `host:port` of its head; by default `$RAY_ADDRESS`, else the one of this machine.
        tensorboard: let every training write for TensorBoard into its folder.
        max_minutes: stop after that time: no run is begun any more, and those in training keep their state.
        on_event: is called with every event (`avq.tasks.events.Event`).

    Returns:
        The long-form table (`assembly.assemble`) of the rows and seeds asked for. The experiment's table in the
        store also keeps those that earlier commands finished. A run that failed is a row of status `failed`
        with its reason, and so are costs that could not be measured.

    Raises:
        UsageError: something that does not exist or does not fit.
        Stopped: `max_minutes` are over before all runs are; the same call resumes.
        AvqError: the disk takes nothing more, or the user stopped it.
    """
    stop_at = None if max_minutes is None else time.time() + 60 * max_minutes
    if tensorboard:
        check_tensorboard()
    store, modules = Store(output), load_plugins(plugins)
    choices = Choices(settings or {}, dataset, only, seeds)
    with opened(executor, address, device, workers) as place:
        made = _planned(ablation, preset, choices, data_root, place.device)
        store.prepare()
        sweep = _Sweep(store, _path(data_root), place, modules, fresh, on_event or (lambda _event: None), allow_small,
                       evaluation_precision, tensorboard, stop_at)  # fmt: skip
        return _swept(made, sweep, keep_stale and not fresh)


def _swept(made: Plan, sweep: _Sweep, keep_stale: bool) -> DataFrame:
    """Carry a plan out; the experiment's table is updated on the way."""
    store, report, machine = sweep.store, sweep.report, sweep.place.machine
    trials = tune.trials(made)
    if trials:
        report(Event("message", text=f"choosing learning rates of {len(trials)} rows on validation images"))
        sweep.carry_out(tune.distinct(trials))
        made = tune.tuned(made, tune.chosen(trials, store))
    stale = _stale(made, store, report, keep_stale)
    if text := missing_weights():
        report(Event("message", text=text))
    try:
        read_plan(store.experiments / made.experiment, made.experiment)
    except UsageError:
        report(Event("message", text="the experiment's plan.json is damaged: its table begins anew with these rows"))
    merge(made, store, stale, machine)

    def keep_table(event: Event) -> None:
        if event.kind in ("finish", "fail"):
            merge(made, store, stale, machine)
        report(event)

    runs = [stale.get(run, run) for run in made.runs]
    tasks = [evaluation_of(run, sweep.allow_small, sweep.precision) for run in runs]
    replace(sweep, report=keep_table).carry_out(tasks)
    sweep.measure_costs(made, stale)
    merge(made, store, stale, machine)
    return assemble(made, store, stale, machine)


@dataclass(frozen=True)
class _Sweep:
    """Where and how the tasks of one command are carried out."""

    store: Store
    data_root: Path | None
    place: Executor
    plugins: tuple[str, ...]
    fresh: bool
    report: OnEvent
    allow_small: bool
    precision: str
    tensorboard: bool
    stop_at: float | None = None

    def carry_out(self, tasks: Sequence[Task]) -> None:
        """Carry out tasks, each after its parents, several at once."""
        done = [] if self.fresh else [task for task in tasks if all(map(self.store.finished, lineage(task)))]
        if done:
            names = ", ".join(task.origin.name for task in done)
            self.report(Event("message", text=f"reusing {_runs(len(done))}: {names}"))
        jobs = [self.job(task) for task in tasks if task not in done]
        left = TimeLeft(Known(self.store, self.place.machine, self.place.workers))
        self.place.execute(jobs, self.report, left.seconds_left, self.stop_at)

    def measure_costs(self, made: Plan, stale: Mapping[Run, Run]) -> None:
        """Measure each distinct model's costs, one process at a time and alone.

        Those that could not be measured are tried again by the next command.
        """
        trained = [run for run in made.runs if run in stale or self.store.record(run) is not None]
        costs = dict.fromkeys(costs_of(run, self.place.machine) for run in trained)
        missing = [task for task in costs if not self.store.finished(task)]
        for index, task in enumerate(missing):
            name, variant = task.run.name, task.run.variant
            self.report(Event("costs", name, f"measuring costs of {variant}", index, len(missing)))
            try:
                outcome = self.place.alone(run_task, replace(self.job(task), fresh=False))
            except KeyboardInterrupt:
                raise AvqError("stopped; all runs are finished: give the same command again to resume.") from None
            except AvqError as error:
                outcome = fail(self.job(task), str(error))
            if outcome.kind == "disk":
                raise DiskError(outcome.text)
            if outcome.kind == "failed":
                self.report(Event("fail", name, f"costs of {variant}: {outcome.text}", index, len(missing)))

    def job(self, task: Task) -> Job:
        return Job(
            task, self.store.root, self.data_root, self.place.device, self.plugins, self.place.workers,
            environment_now(), self.fresh, self.tensorboard, self.stop_at,
        )  # fmt: skip


def _stale(made: Plan, store: Store, report: OnEvent, keep: bool) -> dict[Run, Run]:
    """Runs that changed code would train again, and those of other code that there are; says so."""
    older = {run: found[0] for run in made.runs if not store.finished(run) and (found := store.other_codes(run))}
    if older and keep:
        names = ", ".join(run.name for run in older.values())
        report(Event("message", text=f"keeping {_runs(len(older))} trained by other code (stale): {names}"))
        return older
    if older:
        names = ", ".join(run.name for run in older)
        text = f"training {_runs(len(older))} again because the code changed: {names} (or --keep-stale)"
        report(Event("message", text=text))
    return {}


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _look(made: Plan, device: str) -> None:
    """Say at once what cannot go well: models that do not fit or leave no memory, a loss's missing weights."""
    from avq.design.matching import meta_model
    from avq.profiling.memory import MIB, free_memory
    from avq.training.checks import check_losses
    from avq.training.config import TrainConfig

    free = free_memory(device)
    for entry in made.entries:
        if entry.run.seed == made.seeds[0]:
            weights = sum(parameter.numel() for parameter in meta_model(entry.row).parameters())
            # The least: weights, gradient and two moments; a batch and its reconstruction, in float32.
            least = (16 * weights + 24 * entry.run.train["batch_size"] * entry.run.image_size**2) / MIB
            if least > free:
                raise UsageError(
                    f"row {entry.row.label} needs {least / 1024:,.1f} GiB of memory at least, and {free / 1024:,.1f} "
                    "are free: lower width or batch_size."
                )
        try:
            check_losses(TrainConfig(**entry.run.train), entry.run.image_size)
        except UsageError as error:
            raise UsageError(f"row {entry.row.label}: {error}") from None


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
