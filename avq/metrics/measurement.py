"""One measured number with all that is needed to read it, and the id of its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avq.metrics.registry import METRICS

Status = Literal["ok", "n/a", "failed"]


@dataclass(frozen=True)
class Measurement:
    """One number, or the reason why it is not available.

    Attributes:
        metric: a name in `avq.metrics.registry.METRICS`.
        value: the number in `unit`; None unless `status` is "ok".
        level: latent level, 1 = bottom; None for the whole image.
        stderr: standard error over images. It describes this checkpoint on these images and not the variation of
            training: differences between variants are judged over seeds (`avq.reporting.statistics`).
        n: number of images (or of timed repeats) behind `value`.
        protocol: how the number was obtained; values under different ids are never compared.
        reason: why there is no value; beside a value, what a reader must know (a collapsed codebook).
    """

    metric: str
    value: float | None
    unit: str
    level: int | None = None
    stderr: float | None = None
    n: int | None = None
    protocol: str = ""
    status: Status = "ok"
    reason: str = ""


def protocol_id(metric: str, /, **conditions: object) -> str:
    """`metric.version:key=value;...`, keys in the order given: `protocol_id("mae", range="0-1")`."""
    version = METRICS.find(metric).version
    stated = ";".join(f"{key}={value}" for key, value in conditions.items())
    return f"{metric}.{version}:{stated}" if stated else f"{metric}.{version}"


def measured(
    metric: str,
    value: float,
    *,
    protocol: str,
    level: int | None = None,
    stderr: float | None = None,
    n: int | None = None,
    reason: str = "",
) -> Measurement:
    """A value in the unit of `metric`."""
    return Measurement(metric, float(value), METRICS.find(metric).unit, level, stderr, n, protocol, reason=reason)


def unavailable(metric: str, reason: str, *, protocol: str = "", level: int | None = None) -> Measurement:
    """The `n/a` cell of `metric`, with its reason in one line."""
    unit = METRICS.find(metric).unit
    return Measurement(metric, None, unit, level, protocol=protocol, status="n/a", reason=reason)
