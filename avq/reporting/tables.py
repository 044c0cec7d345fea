"""Wide tables as views of the long form: one line a row of the ablation, one column a metric (and level)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import pandas as pd

from avq.metrics.registry import METRICS
from avq.reporting.formatting import column_of
from avq.reporting.statistics import Judgement
from avq.reporting.values import BASELINE, failures, one_protocol, protocols_differ, rows_of, seed_values

ROW = ["dataset", "row"]


def wide_table(long: pd.DataFrame, split: str = "test", asked: Sequence[str] = ()) -> pd.DataFrame:
    """The table of `split`: rows in the order of their first appearance, columns by what was measured.

    Columns: `dataset` (where there are several), `row`, `seeds` (runs with values), `failed` (runs without),
    then per metric, in the order of METRICS, the mean over seeds, named `mae`, or `perplexity@2` for level 2;
    after a metric that varies with the seed its standard deviation over seeds, `mae:sd` (NaN for one seed);
    last `reason`, of the first failure. A metric without a single value has no column.

    A cost under several protocols (an axis of batch size, say) has no column; a metric that is not `shown` has one
    when it is asked for.

    Raises:
        NotComparable: a column of a trained metric would hold two protocols, or a row two values for one seed.
    """
    frame = rows_of(long, split)
    index = pd.MultiIndex.from_frame(frame[ROW].drop_duplicates())
    columns = _counts(frame, index)
    for metric in METRICS.values():
        if not metric.shown and metric.name not in asked:
            continue
        values = seed_values(frame, metric.name)
        if metric.kind != "trained" and protocols_differ(values):
            continue  # costs of other sizes or batches; the footer says so
        one_protocol(values, metric.name)
        for level, group in values.groupby("level", dropna=False, sort=True):
            name = metric.name if pd.isna(level) else f"{metric.name}@{int(level)}"
            by_row = group.groupby(ROW, sort=False)["value"]
            columns[name] = by_row.mean().reindex(index)
            if metric.kind == "trained" and pd.isna(level):
                columns[f"{name}:sd"] = by_row.std(ddof=1).reindex(index)
    reasons = failures(frame).drop_duplicates(ROW).set_index(ROW)["reason"].reindex(index).fillna("")
    table = pd.DataFrame(columns, index=index).assign(reason=reasons).reset_index()
    return table if table["dataset"].nunique() > 1 else table.drop(columns="dataset")


def left_out(long: pd.DataFrame, split: str = "test", asked: Sequence[str] = ()) -> list[str]:
    """Metrics that have values on `split` but no column in the table, since they were not asked for."""
    frame = rows_of(long, split)
    there = set(frame.loc[(frame["status"] == "ok") & frame["value"].notna(), "metric"])
    return [name for name, metric in METRICS.items() if not metric.shown and name in there and name not in asked]


def _counts(frame: pd.DataFrame, index: pd.MultiIndex) -> dict[str, pd.Series]:
    lost = failures(frame)
    failed = lost[lost["whole"]].groupby(ROW)["seed"].nunique().reindex(index, fill_value=0)
    ran = frame[frame["status"] == "ok"].groupby(ROW)["seed"].nunique()
    counts = {"seeds": ran.reindex(index, fill_value=0).astype(int)}
    return counts | ({"failed": failed.astype(int)} if failed.any() else {})


def best(wide: pd.DataFrame, column: str, baselines: Collection[str]) -> pd.Series:
    """Where a column's mean is the best of two trained rows or more: at one nominal rate, of one dataset.

    Costs are compared at any rate. What the k-means baseline costs or reaches is no merit: it is never the best, and
    neither is anything in a column without a better direction, or of a level. A description, not a verdict.
    """
    metric, level = column_of(column)
    if metric is None or metric.better is None or level:
        return pd.Series(False, wide.index)
    keys = [wide["dataset"]] if "dataset" in wide else []
    keys += [wide["bits-per-pixel"].round(6)] if "bits-per-pixel" in wide and not metric.is_cost else []
    values = wide[column].where(~wide["row"].isin(baselines))
    groups = values.groupby(keys or [0] * len(wide), dropna=False)
    return (values == groups.transform("min" if metric.better == "lower" else "max")) & (groups.transform("count") > 1)


def baselines_of(long: pd.DataFrame) -> set[str]:
    """The rows that are k-means baselines."""
    return set(long.loc[long["variant"] == BASELINE, "row"])


def judged_table(judged: Sequence[Judgement]) -> pd.DataFrame:
    """One line a contrast, in the order declared.

    Columns: `contrast, a, b, metric, n_a, n_b, mean_a, mean_b, difference, low, high, p, p_holm, margin,
    p_equivalence, verdict, reason, alpha, family`.
    """
    last = ("verdict", "reason", "alpha", "family")
    names = [field.name for field in dataclasses.fields(Judgement) if field.name not in last]
    table = pd.DataFrame([dataclasses.asdict(one) for one in judged], columns=[*names, *last])
    return table.rename(columns={"name": "contrast"})
