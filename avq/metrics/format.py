"""Values of metrics as text."""

from __future__ import annotations

import math

from avq.metrics.registry import METRICS


def format_value(metric: str, value: float | None, spread: float | None = None) -> str:
    """`value` as a table shows it, without its unit; with `± spread` in the same digits where it is given.

    A missing value (None or NaN) is a hyphen.
    """
    if value is None or math.isnan(value):
        return "-"
    spec = METRICS.find(metric).format
    if spec == "si":
        return _si(value)
    text = _number(value, spec)
    return text if spread is None or math.isnan(spread) else f"{text} ± {_number(spread, spec)}"


def _number(value: float, spec: str) -> str:
    """Without an exponent for large values: no column of a table mixes 8750 and 1.31e+04."""
    return format(value, ".0f" if spec.endswith("g") and abs(value) >= 1000 else spec)


def _si(value: float) -> str:
    for size, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            number = value / size
            return f"{number:.3g}{prefix}" if abs(number) < 999.5 else f"{number:.0f}{prefix}"
    return f"{value:.0f}"
