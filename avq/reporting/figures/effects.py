"""What was found: declared contrasts with their intervals, and every row's values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric
from avq.reporting.figures.data import one_dataset, sight, with_intervals
from avq.reporting.figures.style import (
    BASELINE_INK,
    DIRECTIONS,
    INK,
    QUIET,
    VERDICTS,
    Look,
    Picture,
    axes_of,
    baseline_line,
    drawing,
    looks,
    margin_note,
    name_rows,
    off_the_scale,
)
from avq.reporting.statistics import Judgement
from avq.reporting.values import BASELINE


def contrast_intervals(judged: Sequence[Judgement]) -> Picture | None:
    """Differences a - b with their intervals, one line a contrast that has numbers, one panel a metric.

    The band is the margin within which the ablation calls two rows as good as each other. Colour and word are the
    verdict after correction; the interval is not corrected. None where no contrast has numbers.
    """
    shown = [one for one in judged if not math.isnan(one.difference)]
    if not shown:
        return None
    parts = [[one for one in shown if one.metric == metric] for metric in dict.fromkeys(one.metric for one in shown)]
    heights = [0.75 + 0.48 * len(part) for part in parts]
    with drawing(sum(heights)) as figure:
        panels = figure.subplots(len(parts), squeeze=False, height_ratios=heights)[:, 0]
        for axes, part in zip(panels, parts, strict=True):
            _contrasts(axes, part, METRICS.find(part[0].metric))
    words = "; ".join(f"{one.name}: {_in_words(one)}" for one in shown)
    return Picture(figure, f"Differences between the two rows of each declared contrast. {words}.")


def _contrasts(axes: Axes, part: Sequence[Judgement], metric: Metric) -> None:
    margin = part[0].margin
    if not math.isnan(margin):
        axes.axvspan(-margin, margin, color="#e3eaf3", zorder=0)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for at, one in enumerate(part):
        ink = VERDICTS.get(one.verdict, QUIET)
        if not math.isnan(one.low):
            axes.plot([one.low, one.high], [at, at], color=ink, linewidth=3.2, solid_capstyle="butt")
        axes.plot(one.difference, at, "o", color=ink, markerfacecolor="white" if ink == QUIET else ink, markersize=6.5)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "bottom"}
        axes.annotate(one.name, (0, at), (0, 5.5), fontsize=9, color=INK, **place)
        axes.annotate(one.verdict, (1, at), (0, 5.5), fontsize=9, color=ink, ha="right", weight="bold", **place)
    axes.set_ylim(len(part) - 0.6, -0.85)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.set_xlabel(f"difference in {metric.label}{DIRECTIONS[metric.better]}")


def _in_words(one: Judgement) -> str:
    interval = "" if math.isnan(one.low) else f", 95 % interval {one.low:+.4g} to {one.high:+.4g}"
    return f"{one.difference:+.4g} in {METRICS.find(one.metric).label}{interval}, {one.verdict}"


def values_by_row(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> Picture:
    """One line a row of the ablation: a dot a seed, the mean, and its 95 % interval from the pooled spread.

    The k-means baseline is drawn as a line that trained rows must pass.

    Raises:
        NotComparable: the values were obtained under two protocols.
        AvqError: there are no values, or those of several datasets.
    """
    entry = METRICS.find(metric)
    values = one_dataset(long, metric, split)
    table, shown = with_intervals(values), looks(long)
    limits = sight(table, metric)
    with drawing(0.85 + 0.3 * len(table)) as figure:
        axes = figure.subplots()
        for at, line in enumerate(table.to_dict("records")):
            ink, mean = shown[line["row"]].color, line["mean"]
            if line["variant"] == BASELINE:
                baseline_line(axes, mean, along="x")
            axes.plot([line["low"], line["high"]], [at, at], color=ink, linewidth=5, alpha=0.35, solid_capstyle="butt")
            axes.plot(mean, at, "|", color=ink, markersize=13, markeredgewidth=2.2, zorder=3)
            seeds = values.loc[values["row"] == line["row"], "value"]
            axes.plot(seeds, [at] * len(seeds), "o", color="white", markeredgecolor=ink, markersize=4.5, zorder=4)
            text = format(mean, entry.format)
            axes.annotate(text, (1.03, at), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        axes.locator_params(axis="x", nbins=6)
        if limits:
            axes.set_xlim(*limits)
            beyond = table[(table["mean"] < limits[0]) | (table["mean"] > limits[1])]
            for at, row, mean in zip(beyond.index, beyond["row"], beyond["mean"], strict=True):
                above = mean > limits[1]
                axes.plot(limits[above], at, ">" if above else "<", color=shown[row].color, clip_on=False, markersize=7)
        name_rows(axes, table["row"], 0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{entry.label}{DIRECTIONS[entry.better]}")
        axes.set_title(f"{entry.label} on {values['dataset'].iloc[0]}, {split}, by row", x=0)
    words = "; ".join(f"{row} {mean:.4g}" for row, mean in zip(table["row"], table["mean"], strict=True))
    return Picture(figure, f"{entry.title} of every row, mean over seeds: {words}.")


def values_by_axis(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> Picture | None:
    """Means and 95 % intervals over the ablation's axes: the first along x, the second as lines, a third as panels.

    Rows outside the grid are horizontal lines to compare with. None where the rows have no axis, or more than three.
    Errors as `values_by_row`.
    """
    entry, axes_names = METRICS.find(metric), axes_of(long)
    if not 1 <= len(axes_names) <= 3:
        return None
    table = with_intervals(one_dataset(long, metric, split))
    table = table.merge(long.drop_duplicates("row")[["row", *axes_names]], on="row")
    grid = table[(table[axes_names] != "").all(axis=1)]
    if grid.empty:
        return None
    lines, limits = table[~table["row"].isin(grid["row"])], sight(table, metric)
    panels = list(dict.fromkeys(grid[axes_names[2]])) if len(axes_names) == 3 else [""]
    shown = looks(long)
    with drawing(3.4, dpi=200) as figure:
        drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(drawn, panels, strict=True):
            part = grid[grid[axes_names[2]] == panel] if panel else grid
            placed = _one_panel(axes, part, axes_names, shown if len(axes_names) == 2 else {})
            off_the_scale(axes, limits, placed, shown)
            _level_lines(axes, lines, names=axes is drawn[-1])
            axes.set_xlabel(axes_names[0])
            axes.set_title(f"{axes_names[2]} = {panel}" if panel else "")
        drawn[0].set_ylabel(f"{entry.label}{DIRECTIONS[entry.better]}")
        if len(axes_names) > 1:
            handles, labels = drawn[0].get_legend_handles_labels()
            figure.legend(
                handles, labels, title=axes_names[1], loc="outside lower center", ncols=min(4, len(labels)), fontsize=9
            )
    words = "; ".join(
        f"{', '.join(f'{name} {line[name]}' for name in axes_names)}: {format_value(metric, line['mean'])}"
        for line in grid.to_dict("records")
    )
    beside = "; ".join(f"{line['row']}: {format_value(metric, line['mean'])}" for line in lines.to_dict("records"))
    alt = f"{entry.title} over the axes of the ablation. {words}."
    return Picture(figure, f"{alt} Beside: {beside}." if beside else alt)


def _one_panel(axes: Axes, part: pd.DataFrame, names: Sequence[str], shown: Mapping[str, Look]) -> pd.DataFrame:
    """Draw it, and return by row the place along x and the mean."""
    ticks = list(dict.fromkeys(part[names[0]]))
    groups = list(part.groupby(names[1], sort=False)) if len(names) > 1 else [("", part)]
    palette, places = sns.color_palette("deep", len(groups)), []
    for index, (value, group) in enumerate(groups):
        # Side by side a little, so that intervals do not hide each other.
        x = [ticks.index(tick) + 0.11 * (index - (len(groups) - 1) / 2) for tick in group[names[0]]]
        looks_here = [shown.get(row) for row in group["row"]]
        color = looks_here[0].color if looks_here[0] else palette[index]
        axes.plot(x, group["mean"], color=color, linewidth=1.1, alpha=0.6)
        axes.vlines(x, group["low"], group["high"], color=color, linewidth=3.2, alpha=0.45)
        for at, mean, look in zip(x, group["mean"], looks_here, strict=True):
            axes.plot(at, mean, look.marker if look else "o", color=color, markersize=6.5)
        axes.plot([], [], "o-", color=color, label=str(value))
        places.append(group.assign(x=x))
    axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
    axes.set_xlim(-0.4, len(ticks) - 0.6)
    axes.grid(axis="x", visible=False)
    return pd.concat(places).set_index("row")


def _level_lines(axes: Axes, lines: pd.DataFrame, names: bool) -> None:
    for row, variant, mean in lines[["row", "variant", "mean"]].itertuples(index=False, name=None):
        text, ink = (f"{row} (baseline)", BASELINE_INK) if variant == BASELINE else (row, QUIET)
        if variant == BASELINE:
            baseline_line(axes, mean)
        else:
            axes.axhline(mean, color=ink, linewidth=1, linestyle=":", zorder=1)
        if names:
            margin_note(axes, text, mean, ink)
