"""Structural similarity of one scale and of five, by the `pytorch-msssim` package."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_msssim
from torch import Tensor

from avq.metrics.absent import Absent
from avq.metrics.base import MetricObject
from avq.metrics.error import MeanPerImage
from avq.metrics.measurement import protocol_id

WINDOW = 11  # px, a Gaussian of sigma 1.5 (Wang et al. 2004)
SMALLEST_MULTISCALE = (WINDOW - 1) * 2**4 + 1  # px: the window must fit after four halvings
_SETTINGS = {"range": "0-1", "window": "gauss11-1.5", "colour": "channels"}


class StructuralSimilarity(MeanPerImage):
    """`ssim`: Wang et al. 2004, K1 = .01, K2 = .03, valid windows only, per channel, then mean; in float64."""

    name = "ssim"
    protocol = protocol_id("ssim", **_SETTINGS)

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        scores: Tensor = pytorch_msssim.ssim(reference, reconstruction, data_range=1.0, size_average=False)
        return scores


class MultiScaleSimilarity(MeanPerImage):
    """`ms-ssim`: Wang et al. 2003, five scales with the published weights; in float64."""

    name = "ms-ssim"
    protocol = protocol_id("ms-ssim", **_SETTINGS, scales=5)

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        scores: Tensor = pytorch_msssim.ms_ssim(reference, reconstruction, data_range=1.0, size_average=False)
        return scores


def structure_metrics(image_size: int) -> list[MetricObject]:
    """Those of both that images of that side allow."""
    if image_size < WINDOW:
        return [Absent(["ssim", "ms-ssim"], f"needs images of at least {WINDOW} px")]
    if image_size < SMALLEST_MULTISCALE:
        return [StructuralSimilarity(), Absent(["ms-ssim"], f"needs images of at least {SMALLEST_MULTISCALE} px")]
    return [StructuralSimilarity(), MultiScaleSimilarity()]
