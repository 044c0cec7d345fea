"""Several metrics over one set of images, under one named reference set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from avq.errors import AvqError
from avq.metrics.measurement import Measurement, protocol_id

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from avq.metrics.base import MetricObject


class Evaluator:
    """Feeds batches to metrics and completes their protocol ids with the reference set and its size.

    Args:
        metrics: the metric objects; the evaluator owns them from here on.
        reference_id: fingerprint of the reference images, such as `ImageSet.fingerprint`.
        conditions: of the whole evaluation, for all protocol ids.

    Raises:
        AvqError: two metrics have one name.
    """

    def __init__(
        self, metrics: Sequence[MetricObject], reference_id: str, conditions: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        names = [metric.name for metric in metrics]
        if len(set(names)) != len(names):
            raise AvqError(f"two metrics of one evaluation share a name: {', '.join(sorted(names))}")
        self.metrics = list(metrics)
        self.reference_id, self.conditions = reference_id, conditions
        self.images = 0

    def prepare(self, reference: Callable[[], Iterator[Tensor]]) -> None:
        """Show metrics the whole reference first (`MetricObject.prepare`); it is read only if one asks for it."""
        for metric in self.metrics:
            metric.prepare(reference)

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        """Take one batch; see `MetricObject.update` for shapes and ranges.

        Raises:
            AvqError: the batch is damaged; the line names the metric that met it.
        """
        for metric in self.metrics:
            metric.update(reference, reconstruction, codes, **extras)
        self.images += len(reference)

    def compute(self) -> list[Measurement]:
        """All measurements; every protocol id ends in `;ref=<reference set>;n=<images>`."""
        return [self.named(row) for metric in self.metrics for row in metric.compute()]

    def named(self, row: Measurement) -> Measurement:
        """A measurement made beside the metrics, under the same reference set."""
        protocol = row.protocol or protocol_id(row.metric)
        about = {**self.conditions, "ref": self.reference_id, "n": self.images}
        words = ";".join(f"{name}={value}" for name, value in about.items())
        return dataclasses.replace(row, protocol=f"{protocol}{';' if ':' in protocol else ':'}{words}")

    def per_image(self) -> pd.DataFrame:
        """One row per image in the order seen: `image` (its position) and a column per per-image metric."""
        import pandas as pd

        columns = {name: values for metric in self.metrics for name, values in metric.per_image().items()}
        return pd.DataFrame({"image": range(self.images), **columns})
