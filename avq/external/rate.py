"""Why there is no rate, in words that fit what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avq.metrics.codebook import PER_LEVEL
from avq.metrics.measurement import Measurement

_OF_CODES = frozenset({*PER_LEVEL, "bits-per-pixel", "bits-per-pixel-entropy"})


def explain_rate(rows: Sequence[Measurement], reason: str | None) -> list[Measurement]:
    """The rows with `reason` where a measure of codes is not available; as they are where there is no reason."""
    return [
        replace(row, reason=reason) if reason and row.status == "n/a" and row.metric in _OF_CODES else row
        for row in rows
    ]
