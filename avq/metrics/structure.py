"""Structural similarity of one scale and of five, by the `pytorch-msssim` package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from avq.metrics.base import MeanPerImage
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.subject import Subject

register_metric(
    Metric("ssim", title="structural similarity, per image, then mean", label="SSIM", better="higher", place=30,
           measured_by="avq.metrics.structure:ssim"),
    Metric("ms-ssim", title="the same over five scales (from 161 px)", label="MS-SSIM", better="higher", place=30,
           measured_by="avq.metrics.structure:ms_ssim"),
)  # fmt: skip

WINDOW, _SIGMA = 11, 1.5  # px, a Gaussian (Wang et al. 2004)
SMALLEST_MULTISCALE = (WINDOW - 1) * 2**4 + 1  # px: the window must fit after four halvings


class StructuralSimilarity(MeanPerImage):
    """`ssim`: Wang et al. 2004, K1 = .01, K2 = .03, valid windows only, per channel, then mean; in float64."""

    name, function = "ssim", "ssim"
    conditions: ClassVar = {"range": "0-1", "window": "gauss11-1.5", "colour": "channels"}

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        import pytorch_msssim

        similarity = getattr(pytorch_msssim, self.function)
        window = _window(reference)
        return cast("Tensor", similarity(reference, reconstruction, data_range=1.0, size_average=False, win=window))


class MultiScaleSimilarity(StructuralSimilarity):
    """`ms-ssim`: Wang et al. 2003, five scales with the published weights; in float64."""

    name, function = "ms-ssim", "ms_ssim"
    conditions: ClassVar = StructuralSimilarity.conditions | {"scales": 5}


def _window(images: Tensor) -> Tensor:
    """The Gaussian `[C, 1, 1, 11]` in float64; the package's own has only float32 precision."""
    import torch

    places = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * _SIGMA**2))
    return (weights / weights.sum()).expand(images.shape[1], 1, 1, WINDOW)


def ssim(subject: Subject) -> StructuralSimilarity | str:
    """SSIM, or the side that images need for it."""
    return StructuralSimilarity() if subject.image_size >= WINDOW else f"needs images of at least {WINDOW} px"


def ms_ssim(subject: Subject) -> MultiScaleSimilarity | str:
    """MS-SSIM, or the side that images need for it."""
    enough = subject.image_size >= SMALLEST_MULTISCALE
    return MultiScaleSimilarity() if enough else f"needs images of at least {SMALLEST_MULTISCALE} px"
