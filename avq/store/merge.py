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
from avq.design.task import canonical
from avq.errors import UsageError
from avq.files import held
from avq.store.assembly import assemble
from avq.store.experiment import read_plan, write_experiment
from avq.store.layout import Store


def merge(
    plan: Plan,
    store: Store,
    stale: Mapping[Run, Run],
    machine: str,
) -> None:
    """Write the experiment's plan.json and table.csv: this plan's rows and seeds, and the finished ones of before.

    Args as `assembly.assemble`. Earlier runs of other code are marked stale. One command at a time: none loses rows.
    """
    folder = store.experiments / plan.experiment
    with held(folder / "lock", wait=True):
        whole = with_earlier(plan, store)
        earlier = set(whole.runs) - set(plan.runs)
        kept = {run for run in earlier if run.code != _code_now(run)} | set(stale.values())
        used = tuple(replace(entry, run=stale.get(entry.run, entry.run)) for entry in whole.entries)
        whole = replace(whole, entries=used)
        write_experiment(folder, whole.describe(), assemble(whole, store, {run: run for run in kept}, machine))


def with_earlier(plan: Plan, store: Store) -> Plan:
    """The plan, and of the experiment's plan.json those rows and seeds that the plan lacks and that are finished.

    Of a plan.json that is damaged, none; of a row whose settings or images have changed since, none of its seeds.
    """
    try:
        earlier = read_plan(store.experiments / plan.experiment, plan.experiment)
        if not _is_same_question(plan, earlier):
            return plan
        before = {row["label"]: _row(row) for row in earlier["rows"]}
    except (UsageError, KeyError, TypeError, AttributeError):
        return plan
    rows = before | {row.label: row for row in plan.rows}
    entries = {(entry.row.label, entry.run.seed): entry for entry in plan.entries}
    now = {entry.row.label: entry for entry in plan.entries}
    for item in earlier["runs"]:
        run = store.run(item["run"])
        if run is None or item["row"] not in rows or (item["row"] in now and not _is_of(now[item["row"]], run)):
            continue
        if store.results(run) is not None and store.finished(run):
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


def _is_of(entry: Entry, run: Run) -> bool:
    """Whether a run is of an entry's row, whatever its seed, its precision and a rate tuned for it."""
    free = {"precision"} | ({"learning_rate"} if entry.row.settings["learning_rate"].origin == "tuned" else set())

    def settings(run: Run) -> str:
        train = {name: value for name, value in run.content["train"].items() if name not in free}
        return canonical(run.content | {"train": train, "seed": 0})

    return settings(run) == settings(entry.run)


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
