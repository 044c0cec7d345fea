"""What is to be measured of a run here and now."""

from __future__ import annotations

from typing import Any

from avq.design.parts import evaluation_code, measure_code
from avq.design.run import Evaluation, Run
from avq.metrics.measures import BASE, measured_after, measured_together
from avq.metrics.weights import available


def evaluation_of(run: Run, allow_small: bool = False, precision: str = "auto") -> Evaluation:
    """The task that measures a run with all that can be measured with here."""
    return Evaluation(run, measures_here(), evaluation_code(run), allow_small, precision)


def measures_here() -> dict[str, dict[str, Any]]:
    """Everything that measures, with its code and the weights that it has here."""
    here, after = set(available()), measured_after()
    found = {}
    for name, metrics in (measured_together() | after).items():
        code = measure_code(name, *BASE) if name in after else measure_code(name)
        versions = ".".join(str(metric.version) for metric in metrics)
        weights = sorted({metric.weights for metric in metrics} & here)
        found[name] = {"code": f"{code}-{versions}", "weights": weights}
    return found
