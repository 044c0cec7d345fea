"""What an experiment holds of earlier commands: a row or a seed that a command leaves out stays in its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from avq.design.parts import code_now
from avq.design.plan import Entry, Plan
from avq.design.rows import Row, labels
from avq.design.run import Run
from avq.design.settings import Setting
from avq.errors import UsageError
from avq.files import write_json
from avq.store.assembly import assemble, write_table
from avq.store.declared import read_plan
from avq.store.layout import Store
from avq.store.read_run import run_at


def merge(
    plan: Plan,
    store: Store,
    stale: Mapping[Run, Run],
    machine: str,
) -> None:
    """Write the experiment's plan.json and table.csv: this plan's rows and seeds, and the finished ones of before.

    Args as `assembly.assemble`. Earlier runs of other code are marked stale.
    """
    whole = with_earlier(plan, store)
    earlier = set(whole.runs) - set(plan.runs)
    older = {run: run for run in earlier if run.code != _code_now(run)}
    write_json(store.experiments / plan.experiment / "plan.json", whole.describe())
    table = assemble(whole, store, {**older, **stale}, machine)
    if len(table):
        write_table(whole, store, table)


def with_earlier(plan: Plan, store: Store) -> Plan:
    """The plan, and of the experiment's plan.json those rows and seeds that the plan lacks and that are finished."""
    earlier = read_plan(store.experiments / plan.experiment)
    if not _is_same_question(plan, earlier):
        return plan
    rows = {row["label"]: _row(row) for row in earlier["rows"]} | {row.label: row for row in plan.rows}
    entries = {(entry.row.label, entry.run.seed): entry for entry in plan.entries}
    for item in earlier["runs"]:
        run = run_at(store.named(item["run"]))
        if run is not None and store.results(run) is not None and store.finished(run):
            entries.setdefault((item["row"], item["seed"]), Entry(rows[item["row"]], run))
    places = {label: index for index, label in enumerate(labels(plan.ablation))}
    keys = sorted(entries, key=lambda key: (places[key[0]], key[1]))
    used = dict.fromkeys(label for label, _ in keys)
    seeds = tuple(sorted({seed for _, seed in keys}))
    return replace(
        plan, rows=tuple(rows[label] for label in used), seeds=seeds, entries=tuple(entries[key] for key in keys)
    )


def _is_same_question(plan: Plan, earlier: Mapping[str, Any]) -> bool:
    """Whether ablation and preset are those of the earlier plan, but for words; the experiment's name has the rest."""
    if not earlier:
        return False
    now = json.loads(json.dumps(plan.describe(), default=str))
    settings = earlier.get("preset_settings", now["preset_settings"]) == now["preset_settings"]
    return settings and _without_words(earlier["ablation"]) == _without_words(now["ablation"])


def _without_words(ablation: Mapping[str, Any]) -> dict[str, Any]:
    contrasts = [{**contrast, "name": ""} for contrast in ablation["contrasts"]]
    return {**ablation, "question": "", "expected": "", "contrasts": contrasts}


def _row(described: Mapping[str, Any]) -> Row:
    settings = {name: Setting(**setting) for name, setting in described["settings"].items()}
    return Row(**{**described, "settings": settings})


def _code_now(run: Run) -> str:
    try:
        return code_now(run)
    except UsageError:  # a plug-in that this command does not have
        return run.code
