"""The Python face: run an ablation, load results, look at a store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.design.ablation import Ablation, load_ablation
from avq.design.plan import Choices, Plan, Run, make_plan
from avq.design.presets import get_preset
from avq.errors import AvqError, UsageError
from avq.execution.eta import Forecast
from avq.execution.events import Event, OnEvent
from avq.execution.executors import Executor, opened
from avq.files import read_json, write_atomic
from avq.metrics.weights import named_folder
from avq.plugins import load_plugins
from avq.store import assembly as compose
from avq.store import merge as kept
from avq.store.layout import Store, is_locked
from avq.store.record import COLUMNS, read_records, to_csv
from avq.tasks import tune
from avq.tasks.cost import cost_job, failed_costs
from avq.tasks.job import Job, Measures, is_finished, measures_now
from avq.tasks.watch import check_tensorboard, read_log

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
    _check_models(made)
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
        plugins: modules that register variants.
        executor: `local` (processes of this machine) or `ray` (a cluster; the store must lie where all its nodes
            see it).
        address: of the cluster, `host:port` of its head; by default `$RAY_ADDRESS`, else the one of this machine.
        tensorboard: let every training write for TensorBoard into its folder.
        max_minutes: stop after that time: no run is begun any more, and those in training keep their state.
        on_event: hears what happens; see `events.Event`.

    Returns:
        The long-form table (`compose.compose`) of the rows and seeds asked for. The experiment's table in the
        store also keeps those that earlier commands finished. A run that failed is a row of status `failed`
        with its reason, and so are costs that could not be measured.

    Raises:
        UsageError: something that does not exist or does not fit.
        Stopped: `max_minutes` are over before all runs are; the same call goes on.
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
        sweep = _Sweep(store, _path(data_root), place, modules, fresh, on_event or (lambda _event: None),
                       measures_now(allow_small), named_folder(), tensorboard, stop_at)  # fmt: skip
        return _swept(made, sweep, keep_stale and not fresh)


def _swept(made: Plan, sweep: _Sweep, keep_stale: bool) -> DataFrame:
    """Carry a plan out; the experiment's table is kept up to date on the way."""
    store, tell, machine = sweep.store, sweep.tell, sweep.place.machine
    trials = tune.trials(made)
    if trials:
        tell(Event("message", text=f"choosing learning rates of {len(trials)} rows on validation images"))
        sweep.carry_out(tune.distinct(trials))
        made = tune.tuned(made, tune.chosen(trials, store))
    stale = _stale(made, store, tell, keep_stale)
    kept.keep(made, store, stale, machine)

    def keep_table(event: Event) -> None:
        if event.kind in ("finish", "fail"):
            kept.keep(made, store, stale, machine)
        tell(event)

    older = [run for folder in stale.values() if (run := kept.finished_run(store, folder.name))]
    replace(sweep, tell=keep_table).carry_out([*older, *(run for run in made.runs if run not in stale)])
    failed = sweep.quiet_pass(made, stale)
    kept.keep(made, store, stale, machine, failed)
    return compose.compose(made, store, stale, machine, failed)


@dataclass(frozen=True)
class _Sweep:
    """Where and how the runs of one command are carried out."""

    store: Store
    data_root: Path | None
    place: Executor
    plugins: tuple[str, ...]
    fresh: bool
    tell: OnEvent
    measures: Measures
    weights_dir: Path | None
    tensorboard: bool
    stop_at: float | None = None

    def carry_out(self, runs: Sequence[Run]) -> None:
        done = [] if self.fresh else [run for run in runs if is_finished(self.store, run, self.measures)]
        if done:
            names = ", ".join(run.name for run in done)
            self.tell(Event("message", text=f"reusing {_runs(len(done))}: {names}"))
        jobs = [self.job(run) for run in runs if run not in done]
        forecast = Forecast(self.store, self.place.machine, self.place.workers)
        self.place.execute(jobs, self.tell, forecast.seconds_left, self.stop_at)

    def quiet_pass(self, made: Plan, stale: Mapping[Run, Path]) -> dict[Path, DataFrame]:
        """Measure each distinct model's costs, one process at a time and alone.

        Returns:
            The records of those that could not be measured. They are not cached, so that the next command tries
            again.
        """
        models: dict[Path, Run] = {}
        failed: dict[Path, DataFrame] = {}
        for entry in made.entries:
            path = compose.cost_path(self.store, entry.run, self.place.machine)
            if not path.exists() and (entry.run in stale or self.store.record(entry.run) is not None):
                models.setdefault(path, entry.run)
        for index, (path, run) in enumerate(models.items()):
            self.tell(Event("costs", run.name, f"measuring costs of {run.variant}", index, len(models)))
            try:
                write_atomic(path, to_csv(self.place.alone(cost_job, self.job(run))))
            except KeyboardInterrupt:
                raise AvqError("stopped; all runs are finished: give the same command again to go on.") from None
            except AvqError as error:
                self.tell(Event("fail", run.name, f"costs of {run.variant}: {error}", index, len(models)))
                failed[path] = failed_costs(run, str(error), self.place.machine)
        return failed

    def job(self, run: Run) -> Job:
        return Job(
            run, self.store.root, self.data_root, self.place.device, self.measures, self.plugins,
            self.place.workers, self.weights_dir, self.fresh, self.tensorboard, self.stop_at,
        )  # fmt: skip


def _stale(made: Plan, store: Store, tell: OnEvent, keep: bool) -> dict[Run, Path]:
    """Runs that changed code would train again, and the folders of older code's; says so."""
    older = {run: found[0] for run in made.runs if not store.finished(run) and (found := store.other_codes(run))}
    if older and keep:
        names = ", ".join(path.name for path in older.values())
        tell(Event("message", text=f"keeping {_runs(len(older))} trained by other code (stale): {names}"))
        return older
    if older:
        names = ", ".join(run.name for run in older)
        text = f"training {_runs(len(older))} again because the code changed: {names} (or --keep-stale)"
        tell(Event("message", text=text))
    return {}


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _check_models(made: Plan) -> None:
    """Build every row's model without memory: what does not fit, or a loss's missing weights, is said at once."""
    from avq.design.matching import meta_model
    from avq.training.config import TrainConfig
    from avq.training.losses import check_losses

    for row in made.rows:
        meta_model(row)
    for entry in made.entries:
        try:
            check_losses(TrainConfig(**entry.run.train), entry.run.image_size)
        except UsageError as error:
            raise UsageError(f"row {entry.row.label}: {error}") from None


def load_results(path: str | Path) -> DataFrame:
    """Long-form results of a store (all its experiments), an experiment's folder, a CSV or a parquet file.

    Raises:
        UsageError: there are none; one line that says what is wrong with the file.
    """
    import pandas as pd

    path = Path(path)
    if path.is_dir():
        tables = sorted(path.glob("experiments/*/table.csv")) or sorted(path.glob("table.csv"))
        if not tables:
            raise UsageError(f"{path} holds no finished experiment; `avq-bench status` shows what is going on.")
        frame = pd.concat([read_records(table) for table in tables], ignore_index=True)
    else:
        frame = read_records(path)
    for name, fallback in (("experiment", ""), ("preset", ""), ("row", frame["variant"])):
        if name not in frame.columns:
            frame[name] = fallback
    axes = [name for name in frame.columns if name not in (*COLUMNS, "row")]
    frame[axes] = frame[axes].astype("object").where(frame[axes].notna(), "")
    return frame[[*COLUMNS, "row", *axes]]


@dataclass(frozen=True)
class RunStatus:
    """What is going on with one run of a store.

    Attributes:
        state: `waiting` (planned), `starting`, `training` or `evaluating` (now), `stopped` (begun, nobody is
            at it), `done`, `failed`.
        experiments: the experiments that planned it.
        loss: the last one looked at.
        validation_mae: of the last validation point, in [0, 1]; None before the first.
        perplexity: of the codes over the validation images at that point, one a level, bottom first.
        updated: seconds since the epoch; None for a run that waits.
    """

    run: str
    state: str
    experiments: tuple[str, ...] = ()
    step: int = 0
    steps: int = 0
    images_per_s: float | None = None
    seconds_left: float | None = None
    loss: float | None = None
    validation_mae: float | None = None
    perplexity: tuple[float, ...] = ()
    updated: float | None = None
    reason: str = ""


def status(output: str | Path = "avq-runs") -> list[RunStatus]:
    """Every run of a store and its state: those at work first, then those that wait, failed, or are done.

    Raises:
        UsageError: there is no store.
    """
    store = Store(output)
    if not store.runs.is_dir():
        raise UsageError(f"{output} is no store: `avq-bench run` makes one.")
    planned: dict[str, list[str]] = {}
    for path in sorted(store.experiments.glob("*/plan.json")):
        for item in read_json(path).get("runs", []):
            name = store.named(item["run"]).name
            if path.parent.name not in planned.setdefault(name, []):
                planned[name].append(path.parent.name)
    names = {*planned, *(path.name for path in store.runs.iterdir() if path.is_dir())}
    order = ("training", "evaluating", "starting", "stopped", "waiting", "failed", "done")
    found = [_run_status(store.runs / name, tuple(planned.get(name, ()))) for name in sorted(names)]
    return sorted(found, key=lambda item: order.index(item.state))


def _run_status(folder: Path, experiments: tuple[str, ...]) -> RunStatus:
    progress = read_json(folder / "progress.json")
    state = progress.get("state", "waiting")
    if state in ("starting", "training", "evaluating") and not is_locked(folder):
        state = "stopped"
    names = ("step", "steps", "images_per_s", "seconds_left", "loss", "updated", "reason")
    more = {name: progress[name] for name in names if name in progress}
    points = read_log(folder)
    if points:
        last = points[-1]
        more["loss"] = more.get("loss", last.get("loss"))
        more["validation_mae"] = last.get("validation-mae")
        more["perplexity"] = tuple(value for name, value in sorted(last.items()) if name.startswith("perplexity-"))
    return RunStatus(folder.name, state, experiments, **more)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
