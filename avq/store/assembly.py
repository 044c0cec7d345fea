"""Assembling the long-form table of an experiment from its runs' records and its models' costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from avq.design.evaluations import evaluation_of
from avq.design.parts import cost_code
from avq.design.plan import Entry, Plan
from avq.design.run import Costs, Run
from avq.errors import UsageError
from avq.metrics.measures import measured_after, measured_together
from avq.store.layout import LOG, Store
from avq.store.quality import with_time_to_quality
from avq.store.record import COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame


def assemble(
    plan: Plan,
    store: Store,
    stale: Mapping[Run, Run],
    machine: str,
) -> DataFrame:
    """The experiment's table: every finished or failed run's record, and each row's costs.

    Args:
        plan: the rows and their runs.
        stale: runs of other code that stand in for a run, by that run.
        machine: whose costs are joined, as `machine_name` returns it.

    Returns:
        Long form: `record.COLUMNS`, `row`, and one column per axis. Cost rows have no seed and no split; the
        datasets of a model that has one size on both share what was measured once, each under its own name.
        In rows of status `ok`, `reason` is a remark: a stale run or value, a published variant narrowed, a collapse.
        Where the ablation states a quality, every trained run has its `time-to-quality`.
    """
    import pandas as pd

    parts = []
    for entry in plan.entries:
        run = stale.get(entry.run, entry.run)
        record = store.results(run)
        if record is not None:
            record = _with_stale_values(record, store, run)
            record = with_time_to_quality(record, store.folder(run) / LOG, plan.ablation.budget.quality)
            remark = f"stale: trained by code {record['code'].iloc[0]}" if entry.run in stale else ""
            parts.append(_joined(record, plan, entry, remark))
    for row in plan.rows:
        entry = next(entry for entry in plan.entries if entry.row is row)
        record = store.record(costs_of(entry.run, machine))
        if record is not None:
            parts.append(_joined(record, plan, entry, ""))
    columns = [*COLUMNS, "row", *(axis for axis in plan.ablation.axes if axis not in COLUMNS)]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def _with_stale_values(record: DataFrame, store: Store, run: Run) -> DataFrame:
    """A run's record with a remark on values that other code measured, such as those whose renewal failed."""
    try:
        wanted = evaluation_of(run)
    except UsageError:  # a plug-in or a dataset that this command does not have
        return record
    done = store.describe(wanted)
    there = done.get("content", {}).get("measures", {}) if done.get("code") == wanted.code else {}
    now = {name: measure["code"] for name, measure in wanted.measures.items()}
    stale = {
        metric.name
        for name, metrics in {**measured_together(), **measured_after()}.items()
        for metric in metrics
        if there.get(name, {}).get("code") != now[name]
    }
    marked = record["metric"].isin(stale) & (record["split"] == wanted.split) & (record["status"] == "ok")
    remarks = [_join("stale: measured by other code", own) for own in record["reason"]]
    return record.assign(reason=record["reason"].where(~marked, remarks))


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


def costs_of(run: Run, machine: str) -> Costs:
    """The task that measures what a run's model costs on a machine."""
    return Costs(run, machine, cost_code(run))
