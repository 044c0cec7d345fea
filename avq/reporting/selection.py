"""Parts of long-form results, and one metric across two of an ablation's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from avq.errors import UsageError, unknown
from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.reporting.values import one_protocol, rows_of, seed_values


def select(
    long: pd.DataFrame,
    rows: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    where: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The records of some rows (label or variant) and metrics, and with some values of columns (an axis, say).

    Failed runs stay for any metrics, so that no table hides them.

    Raises:
        UsageError: an unknown name; the nearest is suggested.
    """
    chosen = long
    for column, value in (where or {}).items():
        if column not in long.columns:
            raise unknown("column", column, map(str, long.columns))
        values = chosen[column].astype(str)
        if not (values == value).any():
            raise unknown(f"value of {column}", value, set(values))
        chosen = chosen[values == value]
    if rows:
        known = {*chosen["row"], *chosen["variant"]}
        for name in rows:
            if name not in known:
                raise unknown("row", name, known)
        chosen = chosen[chosen["row"].isin(rows) | chosen["variant"].isin(rows)]
    for name in metrics or ():
        METRICS.find(name)
    return chosen[chosen["metric"].isin(metrics) | (chosen["status"] == "failed")] if metrics else chosen


def pivot(long: pd.DataFrame, down: str, across: str, metric: str = "mae", split: str = "test") -> pd.DataFrame:
    """Mean and spread over seeds of one metric: a line a value of `down`, a column a value of `across`.

    Columns: `down`, then for each value v of `across` the column `v` and `v:sd`. Rows of the ablation
    outside its grid are left out.

    Raises:
        UsageError: no such axis; several rows in one place (then a filter is missing); a metric with levels.
        NotComparable: values under two protocols.
    """
    frame = rows_of(long, split)
    for axis in (down, across):
        if axis not in frame.columns:
            raise unknown("axis", axis, map(str, long.columns))
    if down == across:
        raise UsageError("a pivot needs two different axes.")
    METRICS.find(metric)
    values = seed_values(frame, metric)
    if values["level"].notna().any():
        raise UsageError(f"{metric} has a value per level; a pivot shows one value a row.")
    one_protocol(values, metric)
    places = frame[["dataset", "row", down, across]].drop_duplicates(["dataset", "row"])
    places = places[(places[down].astype(str) != "") & (places[across].astype(str) != "")]
    there = values[["dataset", "row", "seed", "value"]].merge(places, on=["dataset", "row"], suffixes=("", "_axis"))
    crowded = there.groupby([down, across], sort=False)["row"].nunique()
    if (crowded > 1).any():
        place = ", ".join(map(str, crowded[crowded > 1].index[0]))
        raise UsageError(f"several rows lie at {down}, {across} = {place}: choose some with --rows or --where.")
    if there.empty:
        raise UsageError(f"no value of {metric} lies on both axes {down} and {across}.")
    groups = there.groupby([down, across], sort=False)["value"].agg(["mean", "std"])
    columns: dict[str, list[object]] = {down: list(dict.fromkeys(there[down]))}
    for name in dict.fromkeys(there[across]):
        cells = groups.xs(name, level=across).reindex(columns[down])
        columns |= {f"{across}={name}": list(cells["mean"]), f"{across}={name}:sd": list(cells["std"])}
    return pd.DataFrame(columns)


def shown(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A pivot's cells as text: mean ± standard deviation."""
    first, *means = (name for name in table if not name.endswith(":sd"))
    texts = {first: table[first].astype(str)}
    for name in means:
        pairs = zip(table[name], table[f"{name}:sd"], strict=True)
        texts[name] = [format_value(metric, mean, spread) for mean, spread in pairs]
    return pd.DataFrame(texts)


def label(metric: str, split: str) -> str:
    """What a pivot shows, in one line."""
    entry = METRICS[metric]
    better = f", {entry.better} is better" if entry.better else ""
    return f"{entry.label} on {split} images (mean ± standard deviation over seeds{better})"
