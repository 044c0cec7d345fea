"""The house style of all pictures: sizes that a phone can show, colours, and how rows keep their looks."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from avq.reporting.values import BASELINE

INK, QUIET, BASELINE_INK = "#22272e", "#79838e", "#b5482f"
EVEN = "#3a6ea5"
VERDICTS = {"better": "#1a7f5a", "worse": "#b5482f", "equivalent": EVEN}  # with a word beside each use
WIDTH = 5.0  # inches: drawn so small that the letters can be read where a phone shows it 360 px wide
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c4cad1",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9ecef",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}
DIRECTIONS = {"lower": " (lower is better)", "higher": " (higher is better)", None: ""}
DASHED = (0, (4, 3))
_MARKERS = "osD^vPX*<>ph"
_OUTSIDE = "#5c6670"  # rows outside the grid of the axes


@dataclass(frozen=True)
class Picture:
    """A finished figure with the words that stand for it where it cannot be seen.

    Attributes:
        alt: what the picture shows, its numbers included.
        colours: colours of the PNG's palette; None keeps every colour (photographs).
    """

    figure: Figure
    alt: str
    colours: int | None = 160

    def png(self) -> bytes:
        """The picture as a PNG file."""
        out = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(out, format="png")
        if self.colours is None:
            return out.getvalue()
        with Image.open(out) as image:
            small = io.BytesIO()
            # Charts have few colours; a palette makes them a third as large, and no one sees the difference.
            image.convert("RGB").quantize(self.colours, dither=Image.Dither.NONE).save(small, "png", optimize=True)
        return min(small.getvalue(), out.getvalue(), key=len)

    def svg(self) -> bytes:
        """The picture as an SVG file, without date and chance; text stays text."""
        out = io.BytesIO()
        with mpl.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": "avq"}):
            self.figure.savefig(out, format="svg", metadata={"Date": None})
        return out.getvalue()

    def save(self, path: Path) -> Path:
        """Write the picture to `path`: SVG where it ends so, else PNG."""
        path.write_bytes(self.svg() if path.suffix.lower() == ".svg" else self.png())
        return path

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        width = round(float(self.figure.get_size_inches()[0]) * 120)
        return {"image/png": self.png(), "text/plain": self.alt}, {"image/png": {"alt": self.alt, "width": width}}


class Look(NamedTuple):
    """How one row is drawn in every figure."""

    color: Any
    marker: str


def looks(long: pd.DataFrame) -> dict[str, Look]:
    """The look of every row: where there are two axes, marker by the first and colour by the second.

    Rows outside the grid are grey with markers of their own, the k-means baseline is a red cross. Without two axes
    every row has a colour of its own.
    """
    lines = long.drop_duplicates("row")
    axes = axes_of(long)
    inside = lines[(lines[axes] != "").all(axis=1)] if axes else lines.iloc[:0]
    found = {row: Look(BASELINE_INK, "X") for row in lines.loc[lines["variant"] == BASELINE, "row"]}
    if len(axes) != 2 or inside.empty:
        rows = [row for row in lines["row"] if row not in found]
        colors = sns.color_palette("husl" if len(rows) > 10 else "deep", len(rows))
        found |= {row: Look(colors[i], _MARKERS[i % len(_MARKERS)]) for i, row in enumerate(rows)}
    else:
        first, second = (list(dict.fromkeys(inside[axis])) for axis in axes)
        colors = sns.color_palette("deep", len(second))
        for row, shape, color in inside[["row", *axes]].itertuples(index=False, name=None):
            found[row] = Look(colors[second.index(color)], _MARKERS[first.index(shape) % len(_MARKERS)])
        outside = [row for row in lines["row"] if row not in found]
        found |= {row: Look(_OUTSIDE, _MARKERS[(len(first) + i) % len(_MARKERS)]) for i, row in enumerate(outside)}
    return {row: found[row] for row in lines["row"]}


def axes_of(long: pd.DataFrame) -> list[str]:
    """The axes of the ablation: the columns of the long form after `row` whose values differ."""
    names = list(long.columns)
    after = names[names.index("row") + 1 :] if "row" in names else []
    return [name for name in after if long[name].replace("", None).nunique() > 1]


@contextmanager
def drawing(
    height: float, width: float = WIDTH, dpi: int = 200, layout: str | None = "constrained"
) -> Iterator[Figure]:
    """A figure in the house style, in inches; no global state and no window."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), dpi=dpi, layout=layout)  # type: ignore[arg-type, unused-ignore]


def legend(figure: Figure, shown: Mapping[str, Look], columns: int = 3, filled: bool = True) -> None:
    """The rows and their looks below a figure."""
    handles = [
        mpl.lines.Line2D([], [], color=look.color, marker=look.marker, linestyle="" if filled else "-", markersize=6)
        for look in shown.values()
    ]
    figure.legend(
        handles, list(shown), loc="outside lower center", ncols=columns, fontsize=8.5, handletextpad=0.3,
        columnspacing=1.2,
    )  # fmt: skip


def off_the_scale(
    axes: Axes, limits: tuple[float, float] | None, table: pd.DataFrame, shown: Mapping[str, Look]
) -> None:
    """Set the limits of a panel's y axis (None: leave them), and mark means beyond them at the edge, with their value.

    `table` has `x` and `mean` by row.
    """
    if limits is None:
        return
    axes.set_ylim(*limits)
    left, right = axes.get_xlim()
    taken: list[tuple[float, int]] = []
    beyond = table[~table["mean"].between(*limits)].sort_values("x")
    for row, x, mean in zip(beyond.index, beyond["x"], beyond["mean"], strict=True):
        above, color = mean > limits[1], shown[str(row)].color
        # A value whose place is taken goes to the next line.
        crowd = [level for other, level in taken if x - other < 0.12 * (right - left)]
        level = min(set(range(len(crowd) + 1)) - set(crowd))
        taken.append((x, level))
        axes.plot(x, limits[above], "^" if above else "v", color=color, clip_on=False, ms=7)
        axes.annotate(
            f"{mean:.3f}", (x, limits[above]), (0, (6 + 9 * level) * (-1 if above else 1)), zorder=5,
            textcoords="offset points", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
            ha="center", va="top" if above else "bottom", fontsize=8, color=color,
        )  # fmt: skip


def baseline_line(axes: Axes, at: float, along: str = "y") -> None:
    """The dashed line of the k-means baseline's value, across a panel."""
    draw = axes.axhline if along == "y" else axes.axvline
    draw(at, color=BASELINE_INK, linewidth=1, linestyle=DASHED, zorder=1)


def margin_note(axes: Axes, text: str, at: float, color: str) -> None:
    """A word on the right of a panel, at the height `at`."""
    axes.annotate(
        text, (1, at), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=8, color=color, annotation_clip=False,
    )  # fmt: skip


def name_rows(axes: Axes, rows: Sequence[str], room: float) -> None:
    """Rows from the top down along a panel's y axis, with their names."""
    axes.set_yticks(range(len(rows)), rows, fontsize=9 if max(map(len, rows)) < 24 else 7)
    axes.set_ylim(len(rows) - 1 + room, -room)


def broken(label: str) -> list[str]:
    """A row's label as lines: the variant, then its axis values."""
    variant, bracket, values = label.partition("[")
    return [variant, bracket + values] if bracket else [variant]
