"""Composing the long-form table of an experiment from its runs' records and the quiet pass."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from avq.design.code_hash import code_of_costs
from avq.design.plan import Entry, Plan, Run
from avq.files import write_atomic
from avq.store.layout import Store
from avq.store.quality import with_time_to_quality
from avq.store.record import COLUMNS, read_records, to_csv, typed
from avq.tasks.job import LOG

if TYPE_CHECKING:
    from pandas import DataFrame


def compose(
    plan: Plan,
    store: Store,
    stale: Mapping[Run, Path],
    machine: str,
    costs: Mapping[Path, DataFrame] | None = None,
) -> DataFrame:
    """The experiment's table: every finished or failed run's record, and each row's costs.

    Args:
        plan: the rows and their runs.
        stale: folders of older code's runs that stand in for a run, by that run.
        machine: whose costs are joined, as `machine_name` gives it.
        costs: records of costs that are not in the store because they could not be measured, by `cost_path`.

    Returns:
        Long form: `record.COLUMNS`, `row`, and one column per axis. Cost rows have no seed and no split; the
        datasets of a model that has one size on both share what was measured once, each under its own name.
        In rows of status `ok`, `reason` is a remark: a stale run, a published variant narrowed, a collapse.
        Where the ablation states a quality, every trained run has its `time-to-quality`.
    """
    import pandas as pd

    parts = []
    for entry in plan.entries:
        record = read_records(stale[entry.run] / "record.csv") if entry.run in stale else store.record(entry.run)
        if record is not None:
            log = stale.get(entry.run, store.folder(entry.run)) / LOG
            record = with_time_to_quality(record, log, plan.ablation.budget.quality)
            remark = f"stale: trained by code {record['code'].iloc[0]}" if entry.run in stale else ""
            parts.append(_joined(record, plan, entry, remark))
    for row in plan.rows:
        entry = next(entry for entry in plan.entries if entry.row is row)
        path = cost_path(store, entry.run, machine)
        if path.exists():
            parts.append(_joined(read_records(path), plan, entry, ""))
        elif costs and path in costs:
            parts.append(_joined(costs[path], plan, entry, ""))
    columns = [*COLUMNS, "row", *(axis for axis in plan.ablation.axes if axis not in COLUMNS)]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def _joined(record: DataFrame, plan: Plan, entry: Entry, remark: str) -> DataFrame:
    remarks = _join(remark, entry.row.note)
    ok = record["status"] == "ok"
    labels = {axis: label for axis, label in entry.row.axes.items() if axis not in COLUMNS}
    return record.assign(
        experiment=plan.experiment,
        preset=plan.preset.name,
        variant=entry.row.variant,
        dataset=entry.run.dataset,
        row=entry.row.label,
        reason=record["reason"].where(~ok, [_join(remarks, own) for own in record["reason"]]),
        **labels,
    )


def _join(*remarks: object) -> str:
    return "; ".join(remark for remark in remarks if isinstance(remark, str) and remark)


def write_table(plan: Plan, store: Store, table: DataFrame) -> Path:
    """Put the table in its place in the store."""
    path = store.experiments / plan.experiment / "table.csv"
    write_atomic(path, to_csv(typed(table)))
    return path


def cost_path(store: Store, run: Run, machine: str) -> Path:
    """Where a model's costs lie: by model, size, batch, precision, machine and the code that measures costs."""
    what = f"{run.model_id} {machine} {code_of_costs()}"
    return store.costs / f"costs-{hashlib.sha256(what.encode()).hexdigest()[:16]}.csv"
