"""What is going on in a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avq.errors import UsageError
from avq.store.experiment import PLAN, read_plan
from avq.store.layout import Store, is_locked, read_progress
from avq.store.record import is_failure
from avq.tasks.watch import read_log


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
        UsageError: there is no store, or an experiment's plan is damaged.
    """
    store = Store(output)
    if not store.runs.is_dir():
        raise UsageError(f"{output} is no store: `avq-bench run` makes one.")
    planned: dict[str, list[str]] = {}
    for path in sorted(store.experiments.glob(f"*/{PLAN}")):
        for item in read_plan(path.parent, path.parent.name).get("runs", []):
            name = store.named(item["run"]).name
            if path.parent.name not in planned.setdefault(name, []):
                planned[name].append(path.parent.name)
    names = {*planned, *(path.name for path in store.runs.iterdir() if path.is_dir())}
    order = ("training", "evaluating", "starting", "stopped", "waiting", "failed", "done")
    found = [_run_status(store, name, tuple(planned.get(name, ()))) for name in sorted(names)]
    return sorted(found, key=lambda item: order.index(item.state))


def _run_status(store: Store, name: str, experiments: tuple[str, ...]) -> RunStatus:
    folder = store.runs / name
    progress = read_progress(folder)
    state = progress.get("state") or _recorded(store, name)
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


def _recorded(store: Store, name: str) -> str:
    """The state that a run's record tells, where nothing else does: of the first release, or damaged."""
    run = store.run(name)
    record = store.results(run) if run is not None else None
    if record is None:
        return "waiting"
    return "failed" if is_failure(record) else "done"
