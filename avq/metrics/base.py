"""The shape of a metric: a small object that takes batches and computes at the end.

Files of metrics hold their entries too, which tables read: they import torch and numpy only where they compute.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from avq.errors import AvqError
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from avq.metrics.subject import Subject

    FloatArray: TypeAlias = NDArray[np.float64]


class MetricObject(ABC):
    """One metric, or a family that shares its counts.

    The same images in other batches give the same result: states are per-image float64 values or int64 counts, never
    running means.
    """

    name: str

    def prepare(self, reference: Callable[[], Iterator[Tensor]]) -> None:  # noqa: B027 - most have nothing to do
        """See the whole reference; called before the first batch.

        Args:
            reference: returns its batches, as `update` takes them, from the first on.
        """

    @abstractmethod
    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        """Take one batch.

        Args:
            reference: float `[B, 3, H, W]` in [-1, 1]: exactly the tensor that the model saw.
            reconstruction: float `[B, 3, H, W]`; values outside [-1, 1] are clamped.
            codes: int64 `[B, h, w]`, or `[B, h, w, R]`, per level, bottom level first.
            **extras: further tensors by name with B as first size; a metric takes what it needs.
        """

    @abstractmethod
    def compute(self) -> list[Measurement]:
        """The numbers over all batches so far."""

    def per_image(self) -> dict[str, FloatArray]:
        """Values by metric name, one per image in the order seen; empty where a metric has none."""
        return {}


class MeanPerImage(MetricObject):
    """A metric with one number per image: their mean, with the standard error over images.

    A subclass states `name` and `score`, and in `conditions` (or `protocol`) what its definition depends on.

    Args:
        subject: what is measured; most need not know it.
    """

    conditions: ClassVar[Mapping[str, object]] = {"range": "0-1"}
    why_empty = "no images were evaluated"

    def __init__(self, subject: Subject | None = None) -> None:
        self._batches: list[FloatArray] = []

    @property
    def protocol(self) -> str:
        """Its protocol id, without the reference set."""
        return protocol_id(self.name, **self.conditions)

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        scores = self.score(*unit_images(reference, reconstruction, self.name), extras)
        if scores.shape != (len(reference),):
            shape = list(scores.shape)
            raise AvqError(f"{self.name}: score returned {shape} for {len(reference)} images, not one number each")
        self._batches.append(scores.detach().cpu().double().numpy())

    @abstractmethod
    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        """`[B]` scores of float64 images `[B, 3, H, W]` in [0, 1]; NaN where an image has no score."""

    def per_image(self) -> dict[str, FloatArray]:
        return {self.name: self.values()}

    def values(self) -> FloatArray:
        """All scores so far, `[N]`."""
        return joined(self._batches)

    def compute(self) -> list[Measurement]:
        return [mean_over_images(self.name, self.values(), self.protocol, self.why_empty)]


def joined(batches: Sequence[FloatArray]) -> FloatArray:
    """The values of all batches, `[N]`."""
    import numpy as np

    return np.concatenate(batches) if batches else np.zeros(0)


def mean_over_images(
    metric: str, values: FloatArray, protocol: str, why_empty: str, level: int | None = None
) -> Measurement:
    """The mean of one number per image (NaN: it has none) with its standard error; n/a if no image has one."""
    import numpy as np

    scored = values[~np.isnan(values)]
    if not scored.size:
        return unavailable(metric, why_empty, level=level, protocol=protocol)
    mean, sigma = mean_and_sigma(scored)
    stderr = None if math.isnan(sigma) else sigma / math.sqrt(scored.size)
    return measured(metric, mean, level=level, stderr=stderr, n=int(scored.size), protocol=protocol)


def mean_and_sigma(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of `values`; NaN where there are too few.

    The sums are correctly rounded (`math.fsum`), so they do not depend on the order of the values.
    """
    mean = math.fsum(values) / values.size if values.size else math.nan
    squares = math.fsum((values - mean) ** 2)
    return mean, math.sqrt(squares / (values.size - 1)) if values.size > 1 else math.nan


def unit_images(reference: Tensor, reconstruction: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """Both batches as float64 in [0, 1], the reconstruction clamped.

    Raises:
        AvqError: shapes differ, an image is not float in [-1, 1], or a value is not finite.
    """
    if reference.shape != reconstruction.shape or reference.ndim != 4:
        raise AvqError(
            f"{metric}: reference {list(reference.shape)} and reconstruction {list(reconstruction.shape)} "
            "must both be [B, 3, H, W]"
        )
    for role, images in (("reference", reference), ("reconstruction", reconstruction)):
        _check(images, role, metric)
    # The float64 sums below need a device that has them.
    device = "cpu" if reference.device.type == "mps" else reference.device
    original, rebuilt = (images.detach().to(device).double() for images in (reference, reconstruction))
    return (original + 1) / 2, (rebuilt.clamp(-1, 1) + 1) / 2


def _check(images: Tensor, role: str, metric: str) -> None:
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise AvqError(f"{metric}: the {role} is {kind}; metrics take float images in [-1, 1]")
    bad = ~images.isfinite().flatten(1).all(dim=1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise AvqError(
            f"{metric}: the {role} holds values that are not finite "
            f"(in {int(bad.sum())} of {len(bad)} images of a batch, first at {first})"
        )
    if not images.numel():
        return
    low, high = float(images.min()), float(images.max())
    # A reconstruction may overshoot and is clamped; only what cannot be meant as [-1, 1] is refused there.
    outside = low < -1.001 or high > 1.001 if role == "reference" else low >= 0 and high > 16
    if outside:
        raise AvqError(f"{metric}: the {role} spans {low:.3g} to {high:.3g}; metrics take images in [-1, 1]")
