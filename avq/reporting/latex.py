"""A wide table as LaTeX for a paper: booktabs, mean ± standard deviation over seeds, the best in bold."""

from __future__ import annotations

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
_ARROWS = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", None: ""}


def latex(table: pd.DataFrame) -> str:
    r"""`table` (of `wide_table`) as a `tabular` that needs `\usepackage{booktabs}`.

    In bold is the best mean of each trained metric that has a better direction, and what prints the same; that is
    no claim of a difference, which the contrasts make.
    """
    shown = {
        escape(name): [escape(str(value)) for value in table[name]] for name in table if name in ("dataset", "row")
    }
    for name in map(str, table.columns):
        metric = METRICS.get(name.partition("@")[0])
        if metric is not None and not name.endswith(":sd"):
            level = name.partition("@")[2]
            label = escape(metric.label + (f", level {level}" if level else "")) + _ARROWS[metric.better]
            shown[label] = _cells(table, name, metric)
    names = list(shown)
    texts = sum(name in ("dataset", "row") for name in names)
    lines = [
        r"\begin{tabular}{" + "l" * texts + "r" * (len(names) - texts) + "}",
        r"\toprule",
        " & ".join(names) + r" \\",
        r"\midrule",
        *(" & ".join(line) + r" \\" for line in zip(*shown.values(), strict=True)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text in which LaTeX sees nothing special."""
    return "".join(_SPECIAL.get(mark, mark) for mark in text)


def _cells(table: pd.DataFrame, name: str, metric: Metric) -> list[str]:
    values = pd.to_numeric(table[name]).astype(float)
    texts = [format_value(metric.name, value) for value in values]
    best = None
    if metric.better is not None and metric.kind == "trained" and values.notna().any():
        at = values.argmin() if metric.better == "lower" else values.argmax()
        best = texts[int(at)]
    spreads = table[f"{name}:sd"] if f"{name}:sd" in table else [float("nan")] * len(texts)
    cells = []
    for text, spread in zip(texts, spreads, strict=True):
        if text == "-":
            cells.append("--")
            continue
        number = (
            rf"\mathbf{{{text}}}" if text == best else text.replace(" ", r"\,\mathrm{") + ("}" if " " in text else "")
        )
        error = "" if pd.isna(spread) else rf" \pm {format_value(metric.name, float(spread))}"
        cells.append(f"${number}{error}$")
    return cells
