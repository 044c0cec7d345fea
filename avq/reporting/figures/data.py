"""The numbers behind the pictures."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from avq.errors import AvqError
from avq.metrics.registry import METRICS
from avq.reporting.statistics import pool_spreads
from avq.reporting.values import BASELINE, mean_by_row, one_protocol, protocols_differ, rows_of, whole_values


def one_dataset(long: pd.DataFrame, metric: str, split: str) -> pd.DataFrame:
    """Values of a metric without levels, as `seed_values` returns them, on one dataset under one protocol.

    Raises:
        NotComparable: the values were obtained under two protocols.
        AvqError: there are no values, or those of several datasets.
    """
    values = whole_values(rows_of(long, split), metric)
    one_protocol(values, metric)
    if values["dataset"].nunique() != 1:
        raise AvqError(f"picture: need the values of {metric} for one dataset, got {values['dataset'].nunique()}")
    return values


def with_intervals(values: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """One line a row: `row, variant, mean, low, high, seeds`.

    The interval is of the mean over seeds, from the spread pooled over the rows (NaN where none is known).
    """
    pool = pool_spreads(values)
    lines = []
    for row, group in values.groupby("row", sort=False):
        spread, mean = pool.of(str(row)), float(group["value"].mean())
        half = float("nan")
        if spread.df:
            half = float(stats.t.ppf((1 + confidence) / 2, spread.df)) * (spread.variance / len(group)) ** 0.5
        lines.append((str(row), group["variant"].iloc[0], mean, mean - half, mean + half, len(group)))
    return pd.DataFrame(lines, columns=["row", "variant", "mean", "low", "high", "seeds"])


def means(long: pd.DataFrame, metric: str, split: str) -> pd.Series:
    """Mean over seeds of a metric without levels, by row; empty where it was not measured, or costs are mixed.

    Raises:
        NotComparable: a trained metric was obtained under two protocols.
    """
    values = whole_values(rows_of(long, split), metric)
    if METRICS.find(metric).kind != "trained" and protocols_differ(values):
        return pd.Series(dtype="float64")  # as in a table: the footer says that it was left out
    one_protocol(values, metric)
    return mean_by_row(values)


def sight(table: pd.DataFrame, metric: str) -> tuple[float, float] | None:
    """Limits of an axis of means (of `with_intervals`) that leave out rows far worse than the k-means baseline.

    None where everything can be shown, or where most rows do not beat the baseline.
    """
    sign = 1 if METRICS.find(metric).better == "lower" else -1
    losses = table["mean"] * sign
    baselines, trained = losses[table["variant"] == BASELINE], losses[table["variant"] != BASELINE]
    if baselines.empty or trained.empty:
        return None
    baseline, best = float(baselines.max()), float(losses.min())
    room = baseline - best
    if trained.median() >= baseline or trained.max() < baseline + 0.25 * room:
        return None
    low, high = sorted((sign * (best - 0.1 * room), sign * (baseline + 0.3 * room)))
    return low, high
