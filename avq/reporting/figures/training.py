"""How training went: validation curves by seed, and what became of the codebooks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.reporting.figures.style import Look, Picture, axes_of, drawing, legend, looks, name_rows
from avq.reporting.values import rows_of, seed_values

_MOST_LEVELS = 4  # panels side by side that still leave room for their numbers


def validation_curves(log: pd.DataFrame, long: pd.DataFrame, metric: str = "validation-mae") -> Picture | None:
    """Curves on validation images: a thin line a seed, a thick one for the mean, a panel a value of the first axis.

    `log` has columns `row`, `seed`, `step` and `metric`; lines without a value are skipped, and there is no picture
    without any. `long`, the experiment's table, places rows on the axes.
    """
    entry, log = METRICS.find(metric), log.dropna(subset=[metric])
    if log.empty:
        return None
    panels, shown = _panels(log, long), {row: look for row, look in looks(long).items() if row in set(log["row"])}
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    # The start, and a row that diverges, are far above all that matters: they leave the panel at its top.
    late = log[log["step"] >= log["step"].max() * 0.3][metric]
    low, high = float(log[metric].min()), min(float(late.quantile(0.99)), 2 * float(late.median()))
    room = (high - low) or high or 1.0
    with drawing(0.5 + 2.2 * lines + 0.17 * -(-len(shown) // 3)) as figure:
        drawn = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (title, rows) in zip(drawn, panels.items(), strict=False):
            _curves(axes, log[log["row"].isin(rows)], metric, shown)
            axes.set_title(title, fontsize=9.5)
            axes.set_ylim(low - 0.06 * room, high + 0.04 * room)
        for axes in drawn[len(panels) :]:
            axes.set_visible(False)
        for axes in drawn[len(panels) - columns : len(panels)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("training step")
        for axes in drawn[::columns]:
            axes.set_ylabel(entry.label)
        legend(figure, shown, filled=False)
    ends = log.sort_values("step").groupby(["row", "seed"], sort=False)[metric].last().groupby("row", sort=False).mean()
    words = "; ".join(f"{row} {format_value(metric, value)}" for row, value in ends.items())
    return Picture(figure, f"{entry.label} while training, one curve a seed. At the end, mean over seeds: {words}.")


def _panels(log: pd.DataFrame, long: pd.DataFrame) -> dict[str, list[str]]:
    """Rows by the first axis where there are two, so that no panel is crowded; the others together."""
    rows = list(dict.fromkeys(log["row"]))
    names = axes_of(long)
    if len(names) != 2:
        return {"": rows}
    value = long.drop_duplicates("row").set_index("row")[names[0]]
    found: dict[str, list[str]] = {}
    for row in rows:
        title = f"{names[0]} = {value[row]}" if value.get(row, "") != "" else "outside the grid"
        found.setdefault(title, []).append(row)
    return found


def _curves(axes: Axes, log: pd.DataFrame, metric: str, shown: dict[str, Look]) -> None:
    for (row, _), curve in log.groupby(["row", "seed"], sort=False):
        axes.plot(curve["step"], curve[metric], color=shown[row].color, linewidth=0.8, alpha=0.7)
    for row, part in log.groupby("row", sort=False):
        mean, look = part.groupby("step")[metric].mean(), shown[str(row)]
        axes.plot(mean.index, mean, color=look.color, marker=look.marker, markersize=4, linewidth=1.8)


def codebook_usage(long: pd.DataFrame, split: str = "test") -> Picture | None:
    """Share of the codebook that was used (dot) and perplexity as a share of it (bar), by row and level.

    None where no utilization was measured, or more levels than fit.
    """
    frame = rows_of(long, split)
    metrics = {"utilization": "codebook-utilization", "perplexity": "perplexity", "active": "active-codes"}
    table = pd.concat({name: _by_level(frame, metric) for name, metric in metrics.items()}, axis=1).dropna()
    levels = sorted(set(table.index.get_level_values("level")))
    if table.empty or len(levels) > _MOST_LEVELS:
        return None
    # Codes are active out of K, so K is their number by their share.
    table["effective"] = table["perplexity"] * (table["utilization"] / table["active"]).where(table["active"] > 0, 0.0)
    rows, shown = list(dict.fromkeys(table.index.get_level_values("row"))), looks(long)
    with drawing(0.9 + 0.27 * len(rows)) as figure:
        drawn = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
        for axes, level in zip(drawn, levels, strict=True):
            part = table.xs(level, level="level")
            for row, line in part.iterrows():
                at, color = rows.index(row), shown[str(row)].color
                axes.barh(at, line["effective"], color=color, alpha=0.45, height=0.62)
                used = line["utilization"]
                axes.plot(used, at, "o", color="white", markeredgecolor=color, markersize=5, clip_on=False)
            axes.set_title(f"level {level}", fontsize=9.5)
            axes.set_xlim(0, 1.02)
            axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        name_rows(drawn[0], rows, 0.6)
        figure.supxlabel("share of the codebook: dot, codes used; bar, perplexity", fontsize=9)
    words = "; ".join(
        f"{row} level {level}: {line['active']:.0f} codes used ({line['utilization']:.0%}), "
        f"perplexity {line['perplexity']:.0f}"
        for (row, level), line in table.iterrows()
    )
    return Picture(figure, f"Codebook use by row and level, mean over seeds. {words}.")


def _by_level(frame: pd.DataFrame, metric: str) -> pd.Series:
    values = seed_values(frame, metric)
    values = values[values["level"].notna()]
    return values.groupby(["row", "level"], sort=False)["value"].mean()
