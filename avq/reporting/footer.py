"""The lines under a table: what it rests on, what it can show, and what it cannot."""

from __future__ import annotations

import itertools

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric
from avq.reporting.statistics import detectable_effect, pool_spreads
from avq.reporting.values import FLOOR, protocols_differ, rows_of, seed_values, unknown_metrics


def footer(long: pd.DataFrame, split: str = "test", alpha: float = 0.05, metric: str = "mae") -> str:
    """Plain lines about the table of `split`, one fact a line, a dataset after the other.

    Images, seeds and protocol; what ± and the verdicts rest on; which effect the number of seeds can detect;
    rows whose spread is out of line; rows that do not beat the floor; collapsed codebooks; discriminators that won;
    where times come from; metrics that are not known here.
    """
    frame = rows_of(long, split)
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        values = seed_values(part, metric)
        values = values[values["level"].isna()]
        if len(values):
            lines.append(_source(part, values, f"{dataset}, {split}", metric))
            lines += [*_power(values, alpha, METRICS[metric]), *_floor(part, values, metric)]
    rest = (_collapsed(frame), _won(frame), _left_out(frame), _machines(frame), unknown_metrics(long))
    return "\n".join([*lines, *itertools.chain(*rest)])


def floor_failures(part: pd.DataFrame, values: pd.DataFrame, metric: str) -> dict[str, str]:
    """Trained rows whose mean is no better than that of the floor row nearest in rate, with that row."""
    means = values.groupby("row", sort=False)["value"].mean()
    floors = list(dict.fromkeys(values.loc[values["variant"] == FLOOR, "row"]))
    if not floors:
        return {}
    rates = seed_values(part, "bits-per-pixel").groupby("row")["value"].mean()
    sign = 1 if METRICS[metric].better == "lower" else -1
    beaten = {}
    for row in means.index.difference(floors, sort=False):
        floor = min(floors, key=lambda name: abs(rates.get(name, 0.0) - rates.get(row, 0.0)))
        if sign * means[row] >= sign * means[floor]:
            beaten[str(row)] = floor
    return beaten


def _source(part: pd.DataFrame, values: pd.DataFrame, where: str, metric: str) -> str:
    measured = part.loc[(part["metric"] == metric) & (part["status"] == "ok"), "n"].dropna()
    counts = " or ".join(f"{n:,}" for n in sorted(measured.astype(int).unique())) or "an unknown number of"
    seeds = ", ".join(str(seed) for seed in sorted(values["seed"].unique()))
    protocols = " and ".join(values["protocol"].unique())
    return f"{where}: {counts} images; seeds {seeds}; {METRICS[metric].label} is {protocols}."


def _power(values: pd.DataFrame, alpha: float, metric: Metric) -> list[str]:
    pool = pool_spreads(values)
    trained = values[values["row"].isin(pool.pooled)]
    seeds = int(trained.groupby("row")["seed"].nunique().median()) if len(trained) else 0
    if seeds < 2 or not pool.shared.df:
        return ["One seed a row has no spread between seeds: nothing is decided between rows here."]
    sd, df = pool.shared.variance**0.5, pool.shared.df
    effect = detectable_effect(seeds, df, alpha)
    size = format_value(metric.name, effect * sd)
    lines = [
        f"± is the standard deviation over seeds. Verdicts rest on it, pooled over {len(pool.pooled)} rows "
        f"({format_value(metric.name, sd)}, {df:.0f} degrees of freedom), not on the number of images.",
        f"{seeds} seeds a side detect a difference of about {effect:.1f} standard deviations between seeds, "
        f"here {size} in {metric.label} (80 % power, before Holm's correction). A smaller one stays undecided, "
        "which does not mean that there is none.",
    ]
    if pool.uneven:
        names = ", ".join(row for row in dict.fromkeys(values["row"]) if row in pool.uneven)
        lines.append(f"Their spread between seeds is out of line, so they are judged by their own: {names}.")
    return lines


def _floor(part: pd.DataFrame, values: pd.DataFrame, metric: str) -> list[str]:
    if (values["variant"] == FLOOR).all():
        return []
    if not (values["variant"] == FLOOR).any():
        return [f"No floor row ({FLOOR}) here: whether a row has learned anything is not shown."]
    beaten = floor_failures(part, values, metric)
    label = METRICS[metric].label
    if not beaten:
        lines = [f"Every trained row beats the floor ({FLOOR} at the nearest rate) in mean {label}."]
        return lines + _other_rates(part)
    lines = [f"{row} does not beat the floor ({floor}) in mean {label}." for row, floor in beaten.items()]
    return lines + _other_rates(part)


def _other_rates(part: pd.DataFrame) -> list[str]:
    """Rows with more bits than any floor: to beat it says less of them."""
    rates = seed_values(part, "bits-per-pixel")
    highest = rates.loc[rates["variant"] == FLOOR, "value"].max()
    by_row = rates.groupby("row", sort=False)["value"].mean()
    richer = [f"{row} ({rate:.3f})" for row, rate in by_row.items() if rate > highest * 1.001]
    return [f"More bits per pixel than the floor's {highest:.3f}: {', '.join(richer)}."] if richer else []


def _collapsed(frame: pd.DataFrame) -> list[str]:
    """A line for each row and level whose codebook collapsed, with the seeds in which it did."""
    mask = (frame["metric"] == "perplexity") & frame["reason"].str.contains("collapsed codebook", regex=False)
    groups = frame[mask].groupby(["row", "level"], sort=False)["seed"]
    return [
        f"{row} has a collapsed codebook at level {level} (seed {', '.join(str(seed) for seed in seeds)})."
        for (row, level), seeds in groups
    ]


def _won(frame: pd.DataFrame) -> list[str]:
    """A line for each row whose discriminator won outright, with the seeds in which it did."""
    mask = (frame["metric"] == "training-time") & frame["reason"].str.contains("discriminator won", regex=False)
    return [
        f"{row}: the discriminator won outright (seed {', '.join(str(seed) for seed in seeds)})."
        for row, seeds in frame[mask].groupby("row", sort=False)["seed"]
    ]


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
