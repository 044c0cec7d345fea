"""Learned perceptual distance (LPIPS, arXiv 1801.03924), the backbone in the name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from avq.metrics.base import MeanPerImage
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.perceptual import PerceptualDistance
    from avq.metrics.subject import Subject

register_metric(
    Metric("lpips-squeeze", title="learned perceptual distance, SqueezeNet", label="LPIPS squeeze", better="lower",
           place=40, distortion=True, weights="squeezenet1_1", measured_by="avq.metrics.lpips:squeeze"),
    Metric("lpips-alex", title="learned perceptual distance, AlexNet", label="LPIPS alex", better="lower", place=40,
           distortion=True, weights="alexnet", measured_by="avq.metrics.lpips:alex"),
    Metric("lpips-vgg", title="learned perceptual distance, VGG16", label="LPIPS vgg", better="lower", place=40,
           distortion=True, weights="vgg16", measured_by="avq.metrics.lpips:vgg"),
)  # fmt: skip


class PerceptualError(MeanPerImage):
    """`lpips-alex`, `lpips-vgg` or `lpips-squeeze`, at the images' own size, mean over images."""

    def __init__(self, distance: PerceptualDistance) -> None:
        super().__init__()
        self.name, self._distance = f"lpips-{distance.net}", distance

    @property
    def protocol(self) -> str:
        from avq.metrics.perceptual import perceptual_protocol

        return perceptual_protocol(self.name, self._distance)

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        return self._distance(reference * 2 - 1, reconstruction * 2 - 1)


def lpips(net: str, subject: Subject) -> PerceptualError | str:
    """LPIPS with that backbone, or why it is not available."""
    from avq.metrics.perceptual import find_perceptual

    distance = find_perceptual(net, subject.image_size)
    return distance if isinstance(distance, str) else PerceptualError(distance)


squeeze, alex, vgg = (partial(lpips, net) for net in ("squeeze", "alex", "vgg"))
