"""From the entries of metrics to the objects that measure them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from avq.metrics.base import MetricObject
from avq.metrics.measurement import Measurement, unavailable
from avq.metrics.registry import METRICS, Metric
from avq.metrics.subject import Subject
from avq.registry import load

if TYPE_CHECKING:
    from torch import Tensor

BASE = ("avq.metrics.codebook:CodebookUse", "avq.metrics.error:MeanAbsoluteError", "avq.metrics.lpips:squeeze")
"""Measured before anything of `measured_after`, which may use it."""


def measured_together() -> dict[str, list[Metric]]:
    """Every `measured_by` and its metrics, in the order of a table's columns (by the last of each)."""
    return _grouped("measured_by")


def measured_after() -> dict[str, list[Metric]]:
    """Every `measured_after` and its metrics, in the same order."""
    return _grouped("measured_after")


def _grouped(by: str) -> dict[str, list[Metric]]:
    groups: dict[str, list[Metric]] = {}
    for metric in METRICS.values():
        if name := getattr(metric, by):
            groups[name] = [*groups.pop(name, []), metric]
    return groups


def measures(subject: Subject, only: Collection[str] | None = None) -> list[MetricObject]:
    """The objects that measure every metric that has a `measured_by`.

    What it names is called with the subject and returns a `MetricObject`, the reason why its metrics are n/a, or None
    where they mean nothing and have no rows.

    Args:
        subject: what is measured.
        only: the names in `measured_together` that are wanted; None for all.

    Raises:
        UsageError: what a `measured_by` names cannot be imported.
    """
    found: list[MetricObject] = []
    for name, metrics in measured_together().items():
        if only is not None and name not in only:
            continue
        made = load(name, f"metric '{metrics[0].name}'")(subject)
        if made is not None:
            found.append(Absent(metrics, made) if isinstance(made, str) else made)
    return found


class Absent(MetricObject):
    """An `n/a` cell for each of several metrics, all with one reason."""

    def __init__(self, metrics: Sequence[Metric], reason: str) -> None:
        self.name, self.metrics, self.reason = metrics[0].name, metrics, reason

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        pass

    def compute(self) -> list[Measurement]:
        return [unavailable(metric.name, self.reason) for metric in self.metrics]
