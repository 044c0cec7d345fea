"""How differences, p values, columns of metrics and judged contrasts are printed."""

from __future__ import annotations

import math

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric

MINUS = "−"
"""For pages; plain text has a hyphen."""
ARROWS = {"lower": "\u00a0↓", "higher": "\u00a0↑", None: ""}  # a label is broken at plain spaces only


def p_value(p: float) -> str:
    """`<0.001` or three digits; a hyphen for NaN."""
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def size_of(difference: float, metric: Metric) -> str:
    """The size of a difference: one digit more than the values it was taken from."""
    if metric.format.endswith("f"):
        return f"{abs(difference):.{int(metric.format[1:-1]) + 1}f}"
    return format_value(metric.name, abs(difference))


def signed(difference: float, metric: Metric, minus: str = "-") -> str:
    """A difference with its sign; a hyphen for NaN."""
    if math.isnan(difference):
        return "-"
    return ("+" if difference >= 0 else minus) + size_of(difference, metric)


def column_of(name: object) -> tuple[Metric | None, str]:
    """The metric and the level (or "") of a column of a wide table: `perplexity@2`; None for other columns."""
    metric, _, level = str(name).partition("@")
    return (None, "") if str(name).endswith(":sd") else (METRICS.get(metric), level)


def cells(table: pd.DataFrame, name: str, metric: Metric) -> list[str]:
    """One column of a wide table as text, with its spread where a direction is better, so that rows are compared."""
    values = table[name].astype("float64")
    has_spread = metric.better is not None and f"{name}:sd" in table
    spreads = table[f"{name}:sd"].astype("float64") if has_spread else [None] * len(table)
    return [format_value(metric.name, value, spread) for value, spread in zip(values, spreads, strict=True)]


def add_column(shown: dict[str, list[str]], table: pd.DataFrame, name: str, metric: Metric) -> str:
    """Put a column of a wide table under its label, beside the lower levels that are there: `198 / 60`.

    Returns:
        The label. A row with fewer levels just has fewer numbers.
    """
    label, texts = metric.label + ARROWS[metric.better], cells(table, name, metric)
    if label in shown:
        texts = [low if high == "-" else f"{low} / {high}" for low, high in zip(shown[label], texts, strict=True)]
    shown[label] = texts
    return label


def contrasts(judged: pd.DataFrame, minus: str = "-") -> pd.DataFrame:
    """The table of judged contrasts (`avq.reporting.tables.judged_table`) as text; `why` only where one has one."""
    lines = []
    for line in judged.to_dict("records"):
        metric, verdict = METRICS[line["metric"]], line["verdict"]
        low, high = (signed(line[name], metric, minus) for name in ("low", "high"))
        lines.append({
            **{name: line[name] for name in ("contrast", "a", "b")},
            "metric": metric.label,
            "n": f"{line['n_a']} / {line['n_b']}" if line["n_a"] else "-",
            f"a\u00a0{minus}\u00a0b": signed(line["difference"], metric, minus),
            f"{100 * (1 - line['alpha']):g}\u00a0%\u00a0interval": "-" if low == "-" else f"{low} to {high}",
            "p (Holm)": p_value(line["p_holm"]),
            "p (equivalence)": p_value(line["p_equivalence"]),
            "verdict": f"a is {verdict}" if verdict in ("better", "worse") else verdict,
            "why": line["reason"],
        })  # fmt: skip
    shown = pd.DataFrame(lines)
    return shown if "why" in shown and (shown["why"] != "").any() else shown.drop(columns="why", errors="ignore")
