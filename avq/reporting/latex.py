"""A wide table as LaTeX for a paper: booktabs, mean ± standard deviation over seeds, the best in bold."""

from __future__ import annotations

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import Metric
from avq.reporting.formatting import column_of

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
_ARROWS = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", None: ""}


def latex(table: pd.DataFrame) -> str:
    r"""`table` (of `wide_table`) as a `tabular` that needs `\usepackage{booktabs}`.

    In bold is the best mean of each trained metric that has a better direction, and what prints the same; that is
    no claim of a difference, which the contrasts make.
    """
    texts = [name for name in ("dataset", "row") if name in table]
    shown = {name: [escape(str(value)) for value in table[name]] for name in texts}
    for name in map(str, table.columns):
        metric, level = column_of(name)
        if metric is not None:
            label = escape(metric.label + (f", level {level}" if level else "")) + _ARROWS[metric.better]
            shown[label] = _cells(table, name, metric)
    return "\n".join([
        r"\begin{tabular}{" + "l" * len(texts) + "r" * (len(shown) - len(texts)) + "}",
        r"\toprule",
        " & ".join(shown) + r" \\",
        r"\midrule",
        *(" & ".join(line) + r" \\" for line in zip(*shown.values(), strict=True)),
        r"\bottomrule",
        r"\end{tabular}",
    ])  # fmt: skip


def escape(text: str) -> str:
    """Text in which LaTeX sees nothing special."""
    return "".join(_SPECIAL.get(mark, mark) for mark in text)


def _cells(table: pd.DataFrame, name: str, metric: Metric) -> list[str]:
    values = table[name].astype("float64")
    texts = [format_value(metric.name, value) for value in values]
    best = None
    if metric.better is not None and metric.kind == "trained" and values.notna().any():
        best = texts[values.argmin() if metric.better == "lower" else values.argmax()]
    spreads = table[f"{name}:sd"] if f"{name}:sd" in table else [float("nan")] * len(texts)
    cells = []
    for text, spread in zip(texts, spreads, strict=True):
        number, _, prefix = text.partition(" ")
        number += rf"\,\mathrm{{{prefix}}}" if prefix else ""
        number = rf"\mathbf{{{text}}}" if text == best else number
        error = "" if pd.isna(spread) else rf" \pm {format_value(metric.name, float(spread))}"
        cells.append("--" if text == "-" else f"${number}{error}$")
    return cells
