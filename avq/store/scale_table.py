"""The long-form rows of what `scale` measured: values, predictions, gains, fitted exponents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from avq.design.scale_point import ScalePoint
from avq.design.task import canonical
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.store.record import COLUMNS, record_frame

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.profiling.scaling import Outcome, Point, Prediction

AXES = ("latent_size", "similarity", "implementation", "pass")
_NO_PEAK = "this system cannot set a process's peak back"


def long_table(
    tasks: Sequence[ScalePoint],
    predictions: Mapping[Point, Prediction],
    outcomes: Mapping[Point, Outcome],
    experiment: str,
) -> DataFrame:
    """Every point's rows, then the exponents: `record.COLUMNS`, `row` and `AXES`.

    Seed 0 is that of weights and inputs.
    """
    import pandas as pd

    parts: list[DataFrame] = []

    def add(task: ScalePoint, row: str, size: str, measurements: Iterable[Measurement]) -> None:
        point = task.point
        about = {
            "experiment": experiment, "run": _run_name(point, row), "variant": point.subject, "seed": 0,
            "machine": task.machine, "code": task.code, "row": row,
        }  # fmt: skip
        about |= dict(zip(AXES, (size, point.similarity, point.implementation, point.part), strict=True))
        parts.append(record_frame(about, [("", one) for one in measurements], (*COLUMNS, "row", *AXES)))

    for task in tasks:
        point = task.point
        add(task, point.label, str(point.latent_size), _of_point(point, predictions[point], outcomes[point]))
    groups: dict[tuple[str, str, str, str], list[ScalePoint]] = {}
    for task in tasks:
        point = task.point
        groups.setdefault((point.subject, point.similarity, point.implementation, point.part), []).append(task)
    for (subject, *axes), members in groups.items():
        label = f"{subject}[{','.join(axis for axis in axes if axis)}]"
        add(members[0], label, "", _exponents([task.point for task in members], outcomes))
    if not parts:
        return record_frame({}, [], (*COLUMNS, "row", *AXES))
    return pd.concat(parts, ignore_index=True)


def _of_point(point: Point, prediction: Prediction, outcome: Outcome) -> Iterator[Measurement]:
    from avq.profiling.memory import median_and_stderr
    from avq.profiling.scaling import picked

    kind = _kind(point)
    remark = f"auto is {picked(point)} here" if point.implementation == "auto" else ""
    for name, values in (("memory", outcome.memory), ("time", outcome.seconds)):
        metric = f"{kind}-{name}"
        protocol = _protocol(metric, point, repeats=point.repeats)
        if values:
            value, stderr = median_and_stderr(values)
            yield measured(metric, value, stderr=stderr, n=len(values), protocol=protocol, reason=remark)
        elif outcome.failed:
            yield Measurement(metric, None, "", protocol=protocol, status="failed", reason=outcome.reason)
        else:
            yield unavailable(metric, outcome.reason or _NO_PEAK, protocol=protocol)
    for name, value, how in (
        ("memory", prediction.memory, {"counted": "tensor-bytes"}),
        ("time", prediction.seconds, {"roofline": "float32-matmul,copy"}),
    ):
        metric = f"{kind}-{name}-predicted"
        protocol = _protocol(metric, point, **how)
        if prediction.reason:
            yield unavailable(metric, prediction.reason, protocol=protocol)
        else:
            yield measured(metric, value, protocol=protocol)
    if outcome.gain is not None:
        protocol = protocol_id("attention-gain", input="normal", weights="initial", mean="images",
                               **_conditions(point))  # fmt: skip
        yield measured("attention-gain", outcome.gain, n=point.batch_size, protocol=protocol)


def _exponents(points: Sequence[Point], outcomes: Mapping[Point, Outcome]) -> Iterator[Measurement]:
    """Both exponents of points that differ in size alone; the reason names the sizes that they rest on."""
    from avq.profiling.growth import fit_growth
    from avq.profiling.memory import median_and_stderr

    for name, part in (("memory", "memory"), ("time", "seconds")):
        metric = f"{_kind(points[0])}-{name}-exponent"
        protocol = _protocol(metric, points[0], repeats=points[0].repeats, fit="log-log-least-squares")
        there = [(point.latent_size, getattr(outcomes[point], part)) for point in points]
        ran = {size: median_and_stderr(values)[0] for size, values in there if values}
        growth = fit_growth(list(ran), list(ran.values()))
        if growth is None:
            yield unavailable(metric, "fewer than two sizes were measured", protocol=protocol)
            continue
        sizes = ", ".join(map(str, growth.sides))
        interval = f"95 % interval {growth.low:.2f} to {growth.high:.2f}" if len(growth.sides) > 2 else "no interval"
        stderr = growth.stderr if len(growth.sides) > 2 else None
        reason = f"{interval}; fitted over {sizes}"
        yield measured(metric, growth.exponent, stderr=stderr, n=len(growth.sides), protocol=protocol, reason=reason)


def _kind(point: Point) -> str:
    """Of which metrics the point is: a whole variant's numbers do not go by the layer's names."""
    return "model" if point.model else "attention"


def _protocol(metric: str, point: Point, **more: object) -> str:
    return protocol_id(metric, **_conditions(point), **more)


def _conditions(point: Point) -> dict[str, object]:
    sizes: dict[str, object] = {"batch": point.batch_size}
    if point.model:
        sizes |= {"settings": "own"}
    else:
        sizes |= {"channels": point.channels, "filters": point.filters, "form": "literal"}
    device = point.device.partition(":")[0]
    return sizes | {"threads": point.threads, "device": device, "precision": point.precision}


def _run_name(point: Point, row: str) -> str:
    """As a run's folder would be called; the point's conditions are in the hash."""
    digest = hashlib.sha256(f"{row} {canonical(asdict(point))}".encode()).hexdigest()[:8]
    parts = row.replace("[", "-").rstrip("]").replace(",", "-")
    return f"scale-{parts}-{digest}"
