"""Whether faces keep their left-right symmetry: asymmetry in pixels and in LPIPS features, beside that of blur."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from avq.metrics.base import MetricObject, joined, mean_over_images, unit_images
from avq.metrics.measurement import Measurement, protocol_id, unavailable
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.base import FloatArray
    from avq.metrics.perceptual import PerceptualDistance
    from avq.metrics.subject import Subject

register_metric(
    Metric("symmetry-gap", title="asymmetry of reconstructed faces less the original's", label="symmetry gap", place=62,
           shown=False, measured_by="avq.metrics.symmetry:symmetry"),
    Metric("symmetry-gap-blur", title="the same of originals blurred to equal MAE", label="symmetry gap of blur",
           place=62, shown=False, measured_by="avq.metrics.symmetry:symmetry"),
    Metric("symmetry-excess", title="symmetry gap less that of blur: symmetry lost beyond blurring",
           label="symmetry excess", better="lower", place=62, measured_by="avq.metrics.symmetry:symmetry"),
    Metric("symmetry-gap-lpips-squeeze", title="symmetry gap in LPIPS features", label="LPIPS symmetry gap", place=62,
           shown=False, weights="squeezenet1_1", measured_by="avq.metrics.symmetry:symmetry"),
    Metric("symmetry-gap-blur-lpips-squeeze", title="the same of originals blurred to equal MAE",
           label="LPIPS symmetry gap of blur", place=62, shown=False, weights="squeezenet1_1",
           measured_by="avq.metrics.symmetry:symmetry"),
    Metric("symmetry-excess-lpips-squeeze", title="LPIPS symmetry gap less that of blur", label="LPIPS symmetry excess",
           better="lower", place=62, weights="squeezenet1_1", measured_by="avq.metrics.symmetry:symmetry"),
)  # fmt: skip

PIXEL = ("symmetry-gap", "symmetry-gap-blur", "symmetry-excess")
PERCEPTUAL = tuple(f"{name}-lpips-squeeze" for name in PIXEL)


class SymmetryGap(MetricObject):
    """a(reconstruction) - a(original), signed, with a(x) the distance of x from its mirror image.

    a is the mean absolute difference of pixels in [0, 1] (`symmetry-gap`) or LPIPS (`symmetry-gap-lpips-squeeze`).
    Blur alone makes a picture more symmetric, so `-blur` is the same for each original under the Gaussian blur
    that makes its MAE equal to the reconstruction's, and `symmetry-excess` is the gap less that: what a model does
    to symmetry beyond blurring. An image whose MAE no blur reaches has no value, in any of them.

    Args:
        distance: LPIPS, or why it is not available.
    """

    name = "symmetry-gap"

    def __init__(self, distance: PerceptualDistance | str) -> None:
        self._distance = distance
        self._asymmetries: list[tuple[Sequence[str], Callable[[Tensor], Tensor]]] = [(PIXEL, _pixel_asymmetry)]
        if not isinstance(distance, str):
            self._asymmetries.append((PERCEPTUAL, lambda images: distance(images * 2 - 1, images.flip(3) * 2 - 1)))
        self._batches: dict[str, list[FloatArray]] = {name: [] for names, _ in self._asymmetries for name in names}

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        from avq.metrics.blur import blur_to_error

        original, rebuilt = unit_images(reference, reconstruction, self.name)
        blurred, reached = blur_to_error(original, (original - rebuilt).abs().flatten(1).mean(1))
        for names, asymmetry in self._asymmetries:
            before, after, blur = (asymmetry(images) for images in (original, rebuilt, blurred))
            for name, gap in zip(names, (after - before, blur - before, after - blur), strict=True):
                self._batches[name].append(gap.where(reached, math.nan).cpu().numpy())

    def compute(self) -> list[Measurement]:
        rows = [self._row(name, values) for name, values in self.per_image().items()]
        missing = [name for name in PERCEPTUAL if name not in self._batches]
        return rows + [unavailable(name, str(self._distance)) for name in missing]

    def per_image(self) -> dict[str, FloatArray]:
        return {name: joined(batches) for name, batches in self._batches.items()}

    def _row(self, name: str, values: FloatArray) -> Measurement:
        from avq.metrics.perceptual import perceptual_protocol

        conditions: Mapping[str, object] = {"blur": "gauss-dct", "match": "mae"}
        protocol = protocol_id(name, range="0-1", **conditions)
        if name in PERCEPTUAL and not isinstance(self._distance, str):
            protocol = perceptual_protocol(name, self._distance, **conditions)
        return mean_over_images(name, values, protocol, "no image that a blur of equal MAE could be compared with")


def _pixel_asymmetry(images: Tensor) -> Tensor:
    return (images - images.flip(3)).abs().flatten(1).mean(1)


def symmetry(subject: Subject) -> SymmetryGap | None:
    """The symmetry of faces; None where the images show none."""
    from avq.metrics.perceptual import find_perceptual

    faces = subject.reference is not None and subject.reference.faces
    return SymmetryGap(find_perceptual("squeeze", subject.image_size)) if faces else None
