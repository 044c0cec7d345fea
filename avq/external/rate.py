"""Why there is no rate, in words that fit what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avq.metrics.measurement import Measurement
from avq.metrics.registry import METRICS


def explain_rate(rows: Sequence[Measurement], reason: str | None) -> list[Measurement]:
    """The rows with `reason` where a measure of codes is not available; as they are where there is no reason."""
    return [
        replace(row, reason=reason) if reason and row.status == "n/a" and METRICS[row.metric].of == "codes" else row
        for row in rows
    ]
