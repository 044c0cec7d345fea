"""How memory and time of attention, and of whole variants, grow with the latent, where records have it (`scale`)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from avq.metrics.format import format_value
from avq.reporting.figures.style import INK, QUIET, Picture, drawing
from avq.reporting.scaling import has_points, points

_UNITS = {"memory": "MiB", "time": "s"}
_LINES: dict[str, Any] = {"dense": (0, (4, 2)), "linear": "-"}
_MARKERS = {"dense": "s", "linear": "o", "auto": "^"}
_PREDICTED = "x"
_PASSES = {"forward": "forward", "training-step": "training step"}


def attention_scaling(long: pd.DataFrame) -> Picture | None:
    """Memory and time against the side of the latent, both by powers of two: a column a pass.

    Lines join what was measured (medians); crosses are what was predicted, also where a size did not fit. Colour is
    the similarity (or the variant), a dashed line the dense implementation. None for fewer than two latent sizes.
    """
    if not has_points(long):
        return None
    table = points(long)
    if table.loc[table["time"].notna(), "side"].nunique() < 2:
        return None
    table = table.assign(colour=table["similarity"].where(table["variant"] == "attention", table["variant"]))
    kinds = list(dict.fromkeys(table["colour"]))
    colours = dict(zip(kinds, sns.color_palette("deep", len(kinds)), strict=True))
    passes = [name for name in _PASSES if name in set(table["pass"])]
    words = []
    with drawing(5.4 + 0.2 * len(kinds), width=5.0) as figure:
        panels = figure.subplots(2, len(passes), sharex=True, sharey="row", squeeze=False)
        for row, quantity in zip(panels, _UNITS, strict=True):
            for axes, name in zip(row, passes, strict=True):
                words += _panel(axes, table[table["pass"] == name], quantity, colours)
            row[0].set_ylabel(f"{quantity}, {_UNITS[quantity]}")
        for axes, name in zip(panels[0], passes, strict=True):
            axes.set_title(_PASSES[name])
        sides = sorted(table["side"].unique())
        for axes in panels[1]:
            axes.set_xticks(sides, [f"{side}" for side in sides])
            axes.set_xlabel("side of the latent")
        figure.align_ylabels()
        handles = _handles(table, colours)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), fontsize=8.5)
    return Picture(figure, f"Memory and time against the side of the latent. {'; '.join(words)}.")


def _panel(axes: Axes, table: pd.DataFrame, quantity: str, colours: dict[str, Any]) -> list[str]:
    words = []
    for (kind, implementation), line in table.groupby(["colour", "implementation"], sort=False):
        colour = colours[str(kind)]
        predicted = line[line[f"{quantity}-predicted"] > 0]
        axes.plot(predicted["side"], predicted[f"{quantity}-predicted"], _PREDICTED, color=colour, ms=5, alpha=0.7)
        there = line[line[quantity] > 0]
        missed = predicted[predicted["reason"] != ""]
        if len(missed):
            top = missed.iloc[-1]
            axes.annotate(
                "not run", (top["side"], top[f"{quantity}-predicted"]), (-6, 0), textcoords="offset points", ha="right",
                va="center", fontsize=8, color=QUIET,
            )  # fmt: skip
        if there.empty:
            continue
        axes.plot(there["side"], there[quantity], color=colour, linestyle=_LINES.get(str(implementation), "-"),
                  marker=_MARKERS.get(str(implementation), "o"), markersize=4.5)  # fmt: skip
        last = there.iloc[-1]
        value = format_value(f"attention-{quantity}", last[quantity])
        name = ", ".join(part for part in (str(kind), str(implementation), last["pass"]) if part)
        words.append(f"{name}: {value} {_UNITS[quantity]} at {last['side']}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=10)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.margins(x=0.12, y=0.12)
    return words


def _handles(table: pd.DataFrame, colours: dict[str, Any]) -> list[Line2D]:
    lines = [Line2D([], [], color=colour, label=kind, linewidth=3) for kind, colour in colours.items()]
    for name in dict.fromkeys(text for text in table["implementation"] if text):
        looks = {"linestyle": _LINES.get(name, "-"), "marker": _MARKERS.get(name, "o"), "markersize": 4.5}
        lines.append(Line2D([], [], color=INK, label=f"{name}, measured", **looks))
    return [*lines, Line2D([], [], color=QUIET, marker=_PREDICTED, linestyle="", label="predicted")]
