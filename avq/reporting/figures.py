"""Pictures: reconstructions side by side, validation curves by seed, effects with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from avq.errors import AvqError
from avq.metrics.catalogue import get_metric
from avq.reporting.statistics import pool_spreads
from avq.reporting.values import FLOOR, one_protocol, rows_of, seed_values

Images = NDArray[np.uint8]
INK, QUIET, FLOOR_INK = "#22272e", "#8a94a0", "#b5482f"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c4cad1",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9ecef",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def reconstruction_grid(
    original: Images, rows: Mapping[str, Images], path: Path, notes: Mapping[str, str] | None = None
) -> Path:
    """Save a grid: the originals on top, below them one labelled line a variant.

    Args:
        original: uint8 `[N, H, W, 3]`.
        rows: by label, reconstructions of the same shape, in the order to show.
        path: the PNG to write.
        notes: by label, a short second line such as "MAE 0.0466"; missing labels have none.

    Raises:
        AvqError: a row has another shape than the originals.
    """
    lines = {"original": original, **rows}
    for label, images in lines.items():
        if images.shape != original.shape or images.dtype != np.uint8:
            raise AvqError(f"picture: '{label}' is {images.dtype} {images.shape}, the originals {original.shape}")
    count, height, width = original.shape[:3]
    # Whole screen pixels an image pixel, so that small images stay crisp and none is resampled.
    zoom = max(1, round(96 / max(height, width)))
    gap, dpi = 6, 100
    longest = max(len(text) for label in lines for text in (*_broken(label), (notes or {}).get(label, "")))
    label_width = 0.3 + 0.085 * longest
    sheet_h, sheet_w = len(lines) * (height * zoom + gap) - gap, count * (width * zoom + gap) - gap
    sheet = np.full((sheet_h, sheet_w, 3), 255, dtype=np.uint8)
    for i, images in enumerate(lines.values()):
        for j, image in enumerate(images):
            top, left = i * (height * zoom + gap), j * (width * zoom + gap)
            sheet[top : top + height * zoom, left : left + width * zoom] = image.repeat(zoom, 0).repeat(zoom, 1)
    margin = 0.15
    size = (label_width + sheet_w / dpi + margin, sheet_h / dpi + 2 * margin)
    with _figure(size, dpi) as figure:
        figure.figimage(sheet, xo=round(label_width * dpi), yo=round(margin * dpi), origin="upper")
        for i, label in enumerate(lines):
            middle = 1 - (margin + (i * (height * zoom + gap) + height * zoom / 2) / dpi) / size[1]
            note = (notes or {}).get(label, "")
            texts = [*((text, 10.0, INK) for text in _broken(label)), *([(note, 8.5, QUIET)] if note else [])]
            weight = "bold" if i == 0 else "normal"
            for k, (text, points, ink) in enumerate(texts):
                y = middle + (len(texts) - 1 - 2 * k) * 0.08 / size[1]
                x = (label_width - 0.12) / size[0]
                figure.text(x, y, text, fontsize=points, color=ink, weight=weight, ha="right", va="center")
        figure.savefig(path, dpi=dpi)
    return path


def validation_curves(log: pd.DataFrame, path: Path, metric: str = "validation-mae") -> Path:
    """Save the curves on validation images: a thin line a seed, a thick one for the mean over seeds.

    Args:
        log: columns `row`, `seed`, `step` and the column `metric`; lines without a value are skipped.
        path: the PNG to write.
        metric: name of the column, in the catalogue.
    """
    entry = get_metric(metric)
    log = log.dropna(subset=[metric])
    rows = list(dict.fromkeys(log["row"]))
    palette = dict(zip(rows, sns.color_palette("husl" if len(rows) > 8 else "deep", len(rows)), strict=True))
    with _figure((9.0, 5.0)) as figure:
        axes = figure.subplots()
        for (row, _), curve in log.groupby(["row", "seed"], sort=False):
            axes.plot(curve["step"], curve[metric], color=palette[row], linewidth=0.8, alpha=0.45)
        means = log.groupby(["row", "step"], sort=False)[metric].mean().reset_index()
        ends = []
        for row, curve in means.groupby("row", sort=False):
            axes.plot(curve["step"], curve[metric], color=palette[row], linewidth=2.2)
            ends.append((float(curve[metric].iloc[-1]), float(curve["step"].iloc[-1]), str(row)))
        # The start is far above everything that matters; the view is that of the later half.
        late = log[log["step"] >= log["step"].max() * 0.3][metric]
        low, high = float(log[metric].min()), float(late.quantile(0.98))
        room = high - low or high or 1.0
        axes.set_ylim(low - 0.06 * room, high + 0.04 * room)
        _label_ends(axes, ends, palette)
        axes.set_xlabel("training step")
        axes.set_ylabel(entry.title)
        axes.set_title(f"{entry.label} while training, by seed (thin) and mean (thick)")
        figure.savefig(path)
    return path


def values_by_row(long: pd.DataFrame, path: Path, metric: str = "mae", split: str = "test") -> Path:
    """Save one line a row of the ablation: a dot a seed, the mean, and its 95 % interval from the pooled spread.

    The floor is drawn as a line that trained rows must pass.

    Raises:
        NotComparable: the values were obtained under two protocols.
        AvqError: there are no values, or those of several datasets.
    """
    entry = get_metric(metric)
    values = seed_values(rows_of(long, split), metric)
    values = values[values["level"].isna()]
    one_protocol(values, metric)
    if values["dataset"].nunique() != 1:
        raise AvqError(f"picture: need the values of {metric} for one dataset, got {values['dataset'].nunique()}")
    pool = pool_spreads(values)
    rows = list(dict.fromkeys(values["row"]))
    color = sns.color_palette("deep")[0]
    with _figure((9.0, 1.3 + 0.42 * len(rows))) as figure:
        axes = figure.subplots()
        for at, row in enumerate(rows):
            mine = values[values["row"] == row]
            is_floor = (mine["variant"] == FLOOR).any()
            ink, mean, spread = FLOOR_INK if is_floor else color, mine["value"].mean(), pool.of(row)
            if is_floor:
                axes.axvline(mean, color=FLOOR_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
                axes.annotate(
                    "floor",
                    (mean, -0.6),
                    (-4, -4),
                    textcoords="offset points",
                    color=ink,
                    ha="right",
                    va="top",
                    fontsize=9,
                )
            if spread.df:
                half = stats.t.ppf(0.975, spread.df) * (spread.variance / len(mine)) ** 0.5
                axes.plot(
                    [mean - half, mean + half],
                    [at, at],
                    color=ink,
                    linewidth=5,
                    alpha=0.35,
                    solid_capstyle="butt",
                    zorder=2,
                )
            axes.plot(mean, at, "|", color=ink, markersize=15, markeredgewidth=2.4, zorder=3)
            axes.plot(mine["value"], [at] * len(mine), "o", color="white", markeredgecolor=ink, markersize=5, zorder=4)
            axes.annotate(
                format(mean, entry.format), (1.01, at), xycoords=("axes fraction", "data"), va="center", fontsize=9
            )
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        better = {"lower": " (lower is better)", "higher": " (higher is better)", None: ""}[entry.better]
        axes.set_xlabel(f"{entry.title}{better}")
        axes.set_title(f"{entry.label} on {values['dataset'].iloc[0]}, {split}")
        figure.supxlabel(
            "dot: a seed; bar: mean and its 95 % interval by the pooled spread between seeds",
            x=0.99, ha="right", fontsize=8, color=QUIET,
        )  # fmt: skip
        figure.savefig(path)
    return path


@contextmanager
def _figure(size: tuple[float, float], dpi: int = 150) -> Iterator[Figure]:
    """A figure in the house style; no global state and no window."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=size, dpi=dpi, layout=None if dpi == 100 else "constrained")


def _label_ends(axes: Axes, ends: list[tuple[float, float, str]], palette: Mapping[str, Any]) -> None:
    """Names beside the ends of their curves in place of a legend, pushed apart, with a thin line to each."""
    low, high = axes.get_ylim()
    step = 0.05 * (high - low)
    ordered = sorted(ends)
    places: list[float] = []
    for value, _, _ in ordered:
        places.append(max(value, places[-1] + step) if places else value)
    # Half of the push goes down, so that a cluster's names stay beside it.
    shift = min(sum(p - e[0] for p, e in zip(places, ordered, strict=True)) / len(ends), places[0] - low)
    for place, (value, at, row) in zip(places, ordered, strict=True):
        axes.annotate(
            " ".join(_broken(row)),
            (at, min(value, high)),
            (1.02, place - shift),
            textcoords=axes.get_yaxis_transform(),
            color=palette[row],
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": palette[row],
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )


def _broken(label: str) -> list[str]:
    """A row's label as lines: the variant, then its axis values."""
    variant, bracket, values = label.partition("[")
    return [variant, bracket + values] if bracket else [variant]
