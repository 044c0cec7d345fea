"""A wide table as LaTeX for a paper: booktabs, mean ± standard deviation over seeds, what is shown to be best bold."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric
from avq.reporting.formatting import column_of
from avq.reporting.statistics import Judgement
from avq.reporting.tables import baselines_of, best, wide_table
from avq.reporting.values import rows_of

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
_ARROWS = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", None: ""}


def latex(long: pd.DataFrame, judged: Sequence[Judgement], split: str = "test", asked: Sequence[str] = ()) -> str:
    r"""The wide table of `long` as a `tabular` that needs `\usepackage{booktabs}`, with a line below it: n and seeds.

    In bold is the best mean of a metric, but for the k-means baseline, where `judged` has decided every declared
    contrast of it for that row.
    """
    table = wide_table(long, split, asked)
    texts = [name for name in ("dataset", "row") if name in table]
    shown = {name: [escape(str(value)) for value in table[name]] for name in texts}
    for name in map(str, table.columns):
        metric, level = column_of(name)
        if metric is not None:
            label = escape(metric.label + (f", level {level}" if level else "")) + _ARROWS[metric.better]
            sure = table["row"].isin(_winners(judged, metric.name))
            shown[label] = _cells(table, name, metric, best(table, name, baselines_of(long)) & sure)
    return "\n".join([
        r"\begin{tabular}{" + "l" * len(texts) + "r" * (len(shown) - len(texts)) + "}",
        r"\toprule",
        " & ".join(shown) + r" \\",
        r"\midrule",
        *(" & ".join(line) + r" \\" for line in zip(*shown.values(), strict=True)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize " + _note(rows_of(long, split)) + "}",
    ])  # fmt: skip


def _winners(judged: Sequence[Judgement], metric: str) -> set[str]:
    """The rows that are shown to be better in every declared contrast of this metric that names them."""
    named = [one for one in judged if one.metric == metric]
    return {one.winner for one in named} - {row for one in named for row in (one.a, one.b) if row != one.winner}


def _note(frame: pd.DataFrame) -> str:
    measured = frame[(frame["status"] == "ok") & frame["metric"].map(lambda name: METRICS[name].kind == "trained")]
    images = " or ".join(f"{n:,}" for n in sorted(measured["n"].dropna().astype(int).unique()))
    seeds = ", ".join(map(str, sorted(measured["seed"].dropna().unique())))
    text = f"Mean $\\pm$ standard deviation over seeds {seeds}; n = {images} images. " if seeds else ""
    return text + "Bold: the best mean, but for the k-means baseline, where the declared contrasts decide it."


def escape(text: str) -> str:
    """Text in which LaTeX sees nothing special."""
    return "".join(_SPECIAL.get(mark, mark) for mark in text)


def _cells(table: pd.DataFrame, name: str, metric: Metric, bold: pd.Series) -> list[str]:
    spreads = table[f"{name}:sd"] if f"{name}:sd" in table else [float("nan")] * len(table)
    cells = []
    for value, spread, is_best in zip(table[name].astype("float64"), spreads, bold, strict=True):
        text = format_value(metric.name, value)
        number, _, prefix = text.partition(" ")
        number += rf"\,\mathrm{{{prefix}}}" if prefix else ""
        number = rf"\mathbf{{{number}}}" if is_best else number
        error = "" if pd.isna(spread) else rf" \pm {format_value(metric.name, float(spread))}"
        cells.append("--" if text == "-" else f"${number}{error}$")
    return cells
