"""The lines under a table: what it rests on, what it can show, and what it cannot."""

from __future__ import annotations

from typing import Any

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric
from avq.reporting.noise import smallest_difference
from avq.reporting.statistics import FEWEST_SEEDS, pool_spreads
from avq.reporting.values import (
    BASELINE,
    mean_by_row,
    protocols_differ,
    rows_of,
    seed_values,
    unknown_metrics,
    whole_values,
)


def footer(long: pd.DataFrame, split: str = "test", alpha: float = 0.05, metric: str = "mae") -> str:
    """Plain lines about the table of `split`, one fact a line, a dataset after the other.

    Images, seeds and protocol; what ± and the verdicts rest on; which effect the number of seeds can detect;
    rows of outlier variance; rows that do not beat the k-means baseline; collapsed codebooks; discriminators that won;
    where times come from; metrics that are not known here.
    """
    frame = rows_of(long, split)
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        values = whole_values(part, metric)
        if len(values):
            lines.append(_source(part, values, f"{dataset}, {split}", metric))
            lines += [*_power(values, alpha, METRICS[metric]), *_baseline(part, values, metric)]
    collapsed = _seeds_by(frame, "perplexity", "collapsed codebook", ["row", "level"])
    lines += [f"{row} has a collapsed codebook at level {level} ({seeds})." for (row, level), seeds in collapsed]
    won = _seeds_by(frame, "training-time", "discriminator won", "row")
    lines += [f"{row}: the discriminator won outright ({seeds})." for row, seeds in won]
    return "\n".join([*lines, *_left_out(frame), *_machines(frame), *unknown_metrics(long)])


def _source(part: pd.DataFrame, values: pd.DataFrame, where: str, metric: str) -> str:
    measured = part.loc[(part["metric"] == metric) & (part["status"] == "ok"), "n"].dropna()
    counts = " or ".join(f"{n:,}" for n in sorted(measured.astype(int).unique())) or "an unknown number of"
    seeds = ", ".join(str(seed) for seed in sorted(values["seed"].unique()))
    protocols = " and ".join(values["protocol"].unique())
    return f"{where}: {counts} images; seeds {seeds}; {METRICS[metric].label} is {protocols}."


def _power(values: pd.DataFrame, alpha: float, metric: Metric) -> list[str]:
    pool = pool_spreads(values)
    trained = values[values["variant"] != BASELINE].groupby("row")["value"]
    seeds = int(trained.size().median()) if len(trained) else 0
    if seeds < 2 or not pool.shared.df:
        return ["One seed a row has no spread between seeds: nothing is decided between rows here."]
    if pool.pooled:
        sd, df = pool.shared.variance**0.5, pool.shared.df
        spread = f"pooled over {len(pool.pooled)} rows ({format_value(metric.name, sd)}, {df:.0f} degrees of freedom)"
    else:
        sd, df = float(trained.std().median()), 0.0
        spread = "each on that of its own two rows (Welch), as rows do not spread alike"
    effect = smallest_difference(seeds, df, alpha)
    size = format_value(metric.name, effect * sd)
    lines = [
        f"± is the standard deviation over seeds. Verdicts rest on it, {spread}, not on the number of images.",
        f"{seeds} seeds a side detect a difference of about {effect:.1f} standard deviations between seeds, "
        f"here {size} in {metric.label} (80 % power, before Holm's correction). A smaller one stays undecided, "
        "which does not mean that there is no difference.",
    ]
    if pool.outliers:
        names = ", ".join(row for row in dict.fromkeys(values["row"]) if row in pool.outliers)
        lines.append(f"Rows of outlier variance between seeds, undecided with fewer than {FEWEST_SEEDS}: {names}.")
    return lines


def _baseline(part: pd.DataFrame, values: pd.DataFrame, metric: str) -> list[str]:
    """Which trained rows are no better than the k-means baseline nearest in rate, and which have more bits than any."""
    baselines = list(dict.fromkeys(values.loc[values["variant"] == BASELINE, "row"]))
    means, label = mean_by_row(values), METRICS[metric].label
    trained = means.index.difference(baselines, sort=False)
    if not len(trained):
        return []
    if not baselines:
        return [f"No k-means baseline ({BASELINE}) here: whether a row has learned anything is not shown."]
    rates = mean_by_row(seed_values(part, "bits-per-pixel"))
    sign = 1 if METRICS[metric].better == "lower" else -1
    lines = []
    for row in trained:
        nearest = min(baselines, key=lambda name: abs(rates.get(name, 0.0) - rates.get(row, 0.0)))
        if sign * means[row] >= sign * means[nearest]:
            lines.append(f"{row} does not beat the k-means baseline ({nearest}) in mean {label}.")
    beaten = f"Every trained row beats the k-means baseline ({BASELINE} at the nearest rate) in mean {label}."
    highest = rates[rates.index.isin(baselines)].max()
    richer = [f"{row} ({rate:.3f})" for row, rate in rates.items() if rate > highest * 1.001]
    more = [f"More bits per pixel than the k-means baseline's {highest:.3f}: {', '.join(richer)}."] if richer else []
    return [*(lines or [beaten]), *more]


def _seeds_by(frame: pd.DataFrame, metric: str, remark: str, keys: str | list[str]) -> list[tuple[Any, str]]:
    """The seeds whose `metric` has this remark, by `keys`."""
    lines = frame[(frame["metric"] == metric) & frame["reason"].str.contains(remark, regex=False)]
    groups = lines.groupby(keys, sort=False)["seed"]
    return [(key, f"seed {', '.join(str(seed) for seed in seeds)}") for key, seeds in groups]


def _left_out(frame: pd.DataFrame) -> list[str]:
    costs = [metric for metric in METRICS.values() if metric.kind != "trained"]
    mixed = [metric.label for metric in costs if protocols_differ(seed_values(frame, metric.name))]
    return [f"Measured under several protocols, so without a column: {', '.join(mixed)}."] if mixed else []


def _machines(frame: pd.DataFrame) -> list[str]:
    kinds = frame["metric"].map({name: metric.kind for name, metric in METRICS.items()})
    timed = frame[kinds.isin(("time", "memory")) & (frame["status"] == "ok")]
    machines = list(timed["machine"].dropna().unique()) if "machine" in timed else []
    if len(machines) > 1:
        named = "; ".join(machines)
        return [f"Times and memory come from {len(machines)} machines and must not be compared: {named}."]
    return [f"Times and memory: {machines[0]}."] if machines else []
