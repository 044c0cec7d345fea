"""What an experiment holds of earlier commands: a row or a seed that a command leaves out stays in its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.design.plan import Entry, Plan, Run, code_of_factory
from avq.design.rows import Row, labels
from avq.design.settings import Setting
from avq.errors import UsageError
from avq.files import read_json, write_json
from avq.store import assembly as compose
from avq.store.layout import Store

if TYPE_CHECKING:
    from pandas import DataFrame


def keep(
    plan: Plan, store: Store, stale: Mapping[Run, Path], machine: str, costs: Mapping[Path, DataFrame] | None = None
) -> None:
    """Write the experiment's plan.json and table.csv: this plan's rows and seeds, and the finished ones of before.

    Args as `compose.compose`. Kept runs of other code are marked stale.
    """
    whole = with_kept(plan, store)
    earlier = set(whole.runs) - set(plan.runs)
    older = {run: store.folder(run) for run in earlier if run.code != _code_now(run)}
    write_json(store.experiments / plan.experiment / "plan.json", whole.describe())
    table = compose.compose(whole, store, {**older, **stale}, machine, costs)
    if len(table):
        compose.write_table(whole, store, table)


def with_kept(plan: Plan, store: Store) -> Plan:
    """The plan, and of the experiment's plan.json those rows and seeds that the plan lacks and that are finished."""
    kept = read_json(store.experiments / plan.experiment / "plan.json")
    if not _is_same_question(plan, kept):
        return plan
    rows = {row["label"]: _row(row) for row in kept["rows"]} | {row.label: row for row in plan.rows}
    entries = {(entry.row.label, entry.run.seed): entry for entry in plan.entries}
    for item in kept["runs"]:
        run = finished_run(store, item["run"])
        if run is not None:
            entries.setdefault((item["row"], item["seed"]), Entry(rows[item["row"]], run))
    places = {label: index for index, label in enumerate(labels(plan.ablation))}
    keys = sorted(entries, key=lambda key: (places[key[0]], key[1]))
    used = dict.fromkeys(label for label, _ in keys)
    seeds = tuple(sorted({seed for _, seed in keys}))
    return replace(
        plan, rows=tuple(rows[label] for label in used), seeds=seeds, entries=tuple(entries[key] for key in keys)
    )


def _is_same_question(plan: Plan, kept: Mapping[str, Any]) -> bool:
    """Whether ablation and preset are those of the kept plan; the experiment's name tells data and `--set`."""
    names = ("ablation", "preset_settings")
    now = json.loads(json.dumps(plan.describe(), default=str))
    return bool(kept) and all(kept.get(name, now[name]) == now[name] for name in names)


def _row(kept: Mapping[str, Any]) -> Row:
    settings = {name: Setting(**setting) for name, setting in kept["settings"].items()}
    return Row(**{**kept, "settings": settings})


def finished_run(store: Store, name: str) -> Run | None:
    """A run as its folder describes it; None where it is not there or not finished."""
    config = read_json(store.named(name) / "config.json")
    names = ("variant", "factory", "model", "data", "fingerprint", "train", "seed", "code")
    if not config:
        return None
    run = Run(**{name: config[name] for name in names})
    return run if store.finished(run) else None


def _code_now(run: Run) -> str:
    try:
        return code_of_factory(run.factory)
    except UsageError:  # a plug-in that this command does not have
        return run.code
