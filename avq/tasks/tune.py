"""`[tune]`: a learning rate for every row, chosen on validation images by short runs with the first seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from avq.design.plan import Entry, Plan
from avq.design.run import Run
from avq.design.settings import Setting
from avq.models.zoo import variant_entry
from avq.store.layout import Store
from avq.store.record import is_failure

_GIVEN = ("--set", "row", "axis learning_rate")


def trials(plan: Plan) -> dict[str, list[Run]]:
    """Short runs for every row (by label) whose learning rate is open: none where it was given outright, none
    for a baseline, which has no optimiser. Empty where the preset or the ablation does not tune.
    """
    tune = plan.ablation.tune
    if tune is None or not plan.preset.tune:
        return {}
    first = [entry for entry in plan.entries if entry.run.seed == plan.seeds[0]]
    return {
        entry.row.label: [_trial(entry.run, rate, tune.steps) for rate in tune.learning_rate]
        for entry in first
        if _is_open(entry)
    }


def _is_open(entry: Entry) -> bool:
    baseline = variant_entry(entry.row.variant).baseline
    return not baseline and entry.row.settings["learning_rate"].origin not in _GIVEN


def _trial(run: Run, rate: float, steps: int) -> Run:
    train = {**run.train, "learning_rate": rate, "steps": min(steps, int(run.train["steps"]))}
    return replace(run, train=train)


def chosen(rows: Mapping[str, Sequence[Run]], store: Store) -> dict[str, float]:
    """The learning rate of least validation error, for every row with a finished trial."""
    scores = {label: {run: _score(store, run) for run in runs} for label, runs in rows.items()}
    best: dict[str, float] = {}
    for label, found in scores.items():
        finished = {run: score for run, score in found.items() if score is not None}
        if finished:
            best[label] = float(min(finished, key=lambda run: finished[run]).train["learning_rate"])
    return best


def _score(store: Store, run: Run) -> float | None:
    record = store.record(run)
    if record is None or is_failure(record):
        return None
    last = record[(record["metric"] == "validation-mae") & (record["status"] == "ok")]
    return float(last["value"].iloc[-1]) if len(last) else None


def distinct(rows: Mapping[str, Sequence[Run]]) -> list[Run]:
    """Every trial once, in order."""
    return list(dict.fromkeys(run for runs in rows.values() for run in runs))


def tuned(made: Plan, rates: Mapping[str, float]) -> Plan:
    """The plan with the chosen learning rates, by row label."""
    rows = {}
    for row in made.rows:
        rate = rates.get(row.label)
        origin = Setting(rate, "tuned")
        rows[row.label] = row if rate is None else replace(row, settings=row.settings | {"learning_rate": origin})
    entries = []
    for entry in made.entries:
        rate = rates.get(entry.row.label)
        run = entry.run if rate is None else replace(entry.run, train={**entry.run.train, "learning_rate": rate})
        entries.append(replace(entry, row=rows[entry.row.label], run=run))
    return replace(made, rows=tuple(rows.values()), entries=tuple(entries))
