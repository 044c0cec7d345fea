"""The metrics by name: what each is called, how it is shown and judged, and what measures it (torch-free)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from avq.registry import Registry

Better = Literal["lower", "higher"] | None
Kind = Literal["trained", "deterministic", "time", "memory"]
Of = Literal["pixels", "bytes", "codes", "model", "structure", "benchmark", "training", "growth"]
_COSTS = ("structure", "benchmark", "training", "growth")


@dataclass(frozen=True)
class Metric:
    """All facts about one metric, for `register_metric`; each is in the metric's own file.

    Attributes:
        name: the name in records: lower case, with hyphens.
        title: a short phrase for a person.
        label: the head of its column.
        unit: unit of the recorded value; empty where the value is a bare number.
        better: direction of better, or None where neither is (a description, or a budget held equal).
        kind: `trained` values vary with the seed; `deterministic` ones follow from the configuration;
            `time` and `memory` depend on the machine too.
        format: a format specification for one value, or `si` for three digits and a prefix (1.39 M).
        of: what it is computed of. Of images: `pixels`, or `bytes` where pixels are rounded to 8 bits first; `codes`;
            `model` for what happens inside it. Costs: the model's `structure`, the isolated `benchmark`, the `training`
            run, or `growth` with the latent's size.
        place: order of a table's columns (10 rate, 20 to 60 quality of images, 70 codes, 80 attention, from 90
            costs); metrics of one place in the order of their registration.
        shown: whether it has a column by default.
        distortion: whether a table of rate against distortion shows it.
        not_judged: why `check` does not judge it, such as a finer metric that says the same (judging twice costs power,
            and a t test does not fit counts with a maximum K); empty if it does.
        weights: the network weights without which it is n/a, a name in `avq.metrics.weights`.
        measured_by: `module:callable` of what measures it in an evaluation (see `avq.metrics.measures`); metrics that
            share their counts name the same one. Empty if something else measures it.
        measured_after: `module:callable` of what measures it after the pass over all images, with the model (see
            `avq.evaluation.passed`).
        version: of its definition, in its protocol ids: raise it with every change, so that old records are not
            compared with new ones.
    """

    name: str
    title: str
    label: str
    unit: str = ""
    better: Better = None
    kind: Kind = "trained"
    format: str = ".4f"
    of: Of = "pixels"
    place: int = 65
    shown: bool = True
    distortion: bool = False
    not_judged: str = ""
    weights: str = ""
    measured_by: str = ""
    measured_after: str = ""
    version: int = 1

    @property
    def is_cost(self) -> bool:
        """Whether it says what a model costs, and belongs to no split."""
        return self.of in _COSTS


class _Metrics(Registry[Metric]):
    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__(), key=lambda name: self[name].place))


#: In the order of a table's columns.
METRICS = _Metrics(
    "metric",
    built_in=(
        "avq.metrics.codebook", "avq.metrics.error", "avq.metrics.structure", "avq.metrics.lpips",
        "avq.metrics.distribution", "avq.metrics.symmetry", "avq.metrics.attention",
        "avq.evaluation.metrics", "avq.training.metrics", "avq.profiling.metrics",
    ),
)  # fmt: skip


def register_metric(*metrics: Metric) -> None:
    """Add metrics, for evaluations, tables and `check`; UsageError if a name is taken."""
    for metric in metrics:
        METRICS.register(metric.name, metric)
