"""What quality costs: in bits, in parameters, in time, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.reporting.figures.data import means, one_dataset, sight, with_intervals
from avq.reporting.figures.style import (
    BASELINE_INK,
    DASHED,
    DIRECTIONS,
    INK,
    Look,
    Picture,
    baseline_line,
    drawing,
    legend,
    looks,
    margin_note,
    off_the_scale,
)
from avq.reporting.values import BASELINE


def rate_distortion(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> Picture | None:
    """Distortion against rate by code entropy; a tick at each nominal rate; shaded: what does not beat the baseline.

    Errors as `values_by_row`; None where no rate was measured.
    """
    entry = METRICS.find(metric)
    table = with_intervals(one_dataset(long, metric, split)).set_index("row")
    table["entropy"] = means(long, "bits-per-pixel-entropy", split).reindex(table.index)
    table["nominal"] = means(long, "bits-per-pixel", split).reindex(table.index)
    table = table[table["entropy"].notna()]
    if table.empty:
        return None
    shown = {str(row): look for row, look in looks(long).items() if row in table.index}
    with drawing(3.9 + 0.17 * -(-len(shown) // 3)) as figure:
        axes = figure.subplots()
        for row, line in table.iterrows():
            look = shown[str(row)]
            axes.plot([line["entropy"], line["nominal"]], [line["mean"]] * 2, color=look.color, lw=0.8, alpha=0.45)
            axes.plot(line["nominal"], line["mean"], "|", color=look.color, markersize=7, alpha=0.7)
            axes.vlines(line["entropy"], line["low"], line["high"], color=look.color, linewidth=3, alpha=0.4)
            axes.plot(line["entropy"], line["mean"], look.marker, color=look.color, markersize=7, markeredgecolor="w")
        axes.margins(x=0.08, y=0.1)
        off_the_scale(axes, sight(table, metric), table.assign(x=table["entropy"]), shown)
        _beyond_the_baseline(axes, table, worse_is_up=entry.better == "lower")
        axes.set_xlabel("bits per pixel by code entropy (tick: nominal)")
        axes.set_ylabel(f"{entry.label}{DIRECTIONS[entry.better]}")
        legend(figure, shown)
    words = "; ".join(
        f"{row} {format_value(metric, line['mean'])} at {line['entropy']:.3f}" for row, line in table.iterrows()
    )
    return Picture(figure, f"{entry.label} against bits per pixel by code entropy: {words}.")


def _beyond_the_baseline(axes: Axes, table: pd.DataFrame, worse_is_up: bool) -> None:
    """Shade what is no better than a k-means baseline at the same rate or more."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for _, line in table[table["variant"] == BASELINE].iterrows():
        x, y, end = line["entropy"], line["mean"], high if worse_is_up else low
        axes.fill_between([x, right], y, end, color=BASELINE_INK, alpha=0.07, linewidth=0, zorder=0)
        axes.plot([right, x, x], [y, y, end], color=BASELINE_INK, linewidth=1, linestyle=DASHED, zorder=1)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


class _Cost(NamedTuple):
    metric: str
    label: str
    of: Callable[[pd.Series], pd.Series]


_COSTS = (
    _Cost("params-trainable", "trainable values, millions", lambda values: values / 1e6),
    _Cost("train-images-per-s", "training time an image, ms (isolated benchmark)", lambda values: 1000 / values),
    _Cost(
        "inference-images-per-s", "time to reconstruct an image, ms (isolated benchmark)", lambda values: 1000 / values
    ),
    _Cost("peak-memory", "peak memory of training, MiB (isolated benchmark)", lambda values: values),
)


def pareto(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> Picture | None:
    """Quality against parameters, time and memory, one panel a cost that was measured, with its Pareto front.

    The front joins the means of rows that no other row beats in both; whether neighbours on it differ, seeds say.
    Rows at another nominal rate than most are hollow and on no front; the k-means baseline is a dashed line.
    Errors as `values_by_row`; None where no cost was measured.
    """
    entry = METRICS.find(metric)
    table = with_intervals(one_dataset(long, metric, split)).set_index("row")
    rates = means(long, "bits-per-pixel", split).reindex(table.index)
    # Quality bought with bits is another trade: rows at other rates are hollow, and on no front.
    table["same_rate"] = rates.isna() | (rates == rates.mode().iloc[0] if rates.notna().any() else True)
    costs = [(cost, cost.of(means(long, cost.metric, split)).reindex(table.index)) for cost in _COSTS]
    costs = [(cost, values) for cost, values in costs if values.notna().any()]
    if not costs:
        return None
    trained = table["variant"] != BASELINE  # the baseline costs next to nothing: a line to pass, on no front
    there = pd.concat([values for _, values in costs], axis=1).notna().any(axis=1) & trained
    shown = {str(row): look for row, look in looks(long).items() if there.get(row, False)}
    words = []
    with drawing(0.4 + 2.3 * len(costs) + 0.17 * -(-len(shown) // 3)) as figure:
        figure.set_layout_engine("constrained", h_pad=0.08)  # a title belongs to the panel below it
        panels = figure.subplots(len(costs), squeeze=False)[:, 0]
        for axes, (cost, values) in zip(panels, costs, strict=True):
            part = table[trained].assign(x=values).dropna(subset=["x"])
            front = _panel(axes, part, shown, entry.better == "lower")
            for mean in table.loc[~trained, "mean"]:
                baseline_line(axes, mean)
                margin_note(axes, "baseline", mean, BASELINE_INK)
            off_the_scale(axes, sight(table, metric), part, shown)
            axes.set_title(cost.label, fontsize=9.5)
            axes.set_ylabel(entry.label)
            words.append(f"by {cost.label}: {', '.join(front)}")
        legend(figure, shown)
    return Picture(figure, f"{entry.label} against what it costs. On the Pareto front, {'; '.join(words)}.")


def _panel(axes: Axes, table: pd.DataFrame, shown: Mapping[str, Look], lower: bool) -> list[str]:
    front: list[tuple[float, float, str]] = []
    for row, line in table[table["same_rate"]].sort_values(["x", "mean"], ascending=[True, lower]).iterrows():
        if not front or (line["mean"] < front[-1][1] if lower else line["mean"] > front[-1][1]):
            front.append((line["x"], line["mean"], str(row)))
    names = [name for _, _, name in front]
    axes.plot(
        [x for x, _, _ in front], [y for _, y, _ in front], color=INK, linewidth=1.1, alpha=0.6, zorder=1,
        drawstyle="steps-post",
    )  # fmt: skip
    for row, line in table.iterrows():
        look = shown[str(row)]
        axes.vlines(line["x"], line["low"], line["high"], color=look.color, linewidth=3, alpha=0.4)
        edge = INK if row in names else "white" if line["same_rate"] else look.color
        axes.plot(
            line["x"], line["mean"], look.marker, color=look.color if line["same_rate"] else "white",
            markersize=8 if row in names else 7, markeredgecolor=edge, zorder=3,
        )  # fmt: skip
    axes.margins(x=0.08, y=0.12)
    return names
