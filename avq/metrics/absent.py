"""The place of a metric that cannot be had here: its cells say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from avq.metrics.base import MetricObject
from avq.metrics.measurement import Measurement, unavailable

if TYPE_CHECKING:
    from torch import Tensor


class Absent(MetricObject):
    """Gives an `n/a` cell with one reason for each of several metrics.

    Args:
        metrics: their names in the catalogue; the first is this object's own.
        reason: one line, and where there is one the command that mends it.
    """

    def __init__(self, metrics: Sequence[str], reason: str) -> None:
        self.name, self.metrics, self.reason = metrics[0], list(metrics), reason

    def reset(self) -> None:
        pass

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        pass

    def merge(self, other: Self) -> None:
        pass

    def compute(self) -> list[Measurement]:
        return [unavailable(name, self.reason) for name in self.metrics]
