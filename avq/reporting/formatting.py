"""How p values, and differences between values of a metric, are printed."""

from __future__ import annotations

import math

from avq.metrics.format import format_value
from avq.metrics.registry import Metric

MINUS = "−"
"""For pages; plain text has a hyphen."""


def p_value(p: float) -> str:
    """`<0.001` or three digits; a hyphen where there is none."""
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def size_of(difference: float, metric: Metric) -> str:
    """The size of a difference: one digit more than the values it was taken from."""
    if metric.format.endswith("f"):
        return f"{abs(difference):.{int(metric.format[1:-1]) + 1}f}"
    return format_value(metric.name, abs(difference))


def signed(difference: float, metric: Metric, minus: str = "-") -> str:
    """A difference with its sign; a hyphen where there is none."""
    if math.isnan(difference):
        return "-"
    return ("+" if difference >= 0 else minus) + size_of(difference, metric)
