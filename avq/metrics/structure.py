"""Structural similarity of one scale and of five, by the `pytorch-msssim` package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from avq.metrics.base import MeanPerImage
from avq.metrics.measurement import protocol_id
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.measures import Subject

register_metric(
    Metric("ssim", title="structural similarity, per image, then mean", label="SSIM", better="higher", place=30,
           measured_by="avq.metrics.structure:ssim"),
    Metric("ms-ssim", title="the same over five scales (from 161 px)", label="MS-SSIM", better="higher", place=30,
           measured_by="avq.metrics.structure:ms_ssim"),
)  # fmt: skip

WINDOW, _SIGMA = 11, 1.5  # px, a Gaussian (Wang et al. 2004)
SMALLEST_MULTISCALE = (WINDOW - 1) * 2**4 + 1  # px: the window must fit after four halvings
_SETTINGS = {"range": "0-1", "window": "gauss11-1.5", "colour": "channels"}


class StructuralSimilarity(MeanPerImage):
    """`ssim`: Wang et al. 2004, K1 = .01, K2 = .03, valid windows only, per channel, then mean; in float64."""

    name = "ssim"

    @property
    def protocol(self) -> str:
        return protocol_id(self.name, **_SETTINGS)

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        import pytorch_msssim

        scores: Tensor = pytorch_msssim.ssim(
            reference, reconstruction, data_range=1.0, size_average=False, win=_window(reference)
        )
        return scores


class MultiScaleSimilarity(MeanPerImage):
    """`ms-ssim`: Wang et al. 2003, five scales with the published weights; in float64."""

    name = "ms-ssim"

    @property
    def protocol(self) -> str:
        return protocol_id(self.name, **_SETTINGS, scales=5)

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        import pytorch_msssim

        scores: Tensor = pytorch_msssim.ms_ssim(
            reference, reconstruction, data_range=1.0, size_average=False, win=_window(reference)
        )
        return scores


def _window(images: Tensor) -> Tensor:
    """The Gaussian `[C, 1, 1, 11]` in float64; the package's own has the digits of float32."""
    import torch

    places = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * _SIGMA**2))
    return (weights / weights.sum()).expand(images.shape[1], 1, 1, WINDOW)


def ssim(subject: Subject) -> StructuralSimilarity | str:
    """SSIM, or the reason why images of that side have none."""
    return StructuralSimilarity() if subject.image_size >= WINDOW else f"needs images of at least {WINDOW} px"


def ms_ssim(subject: Subject) -> MultiScaleSimilarity | str:
    """MS-SSIM, or the reason why images of that side have none."""
    enough = subject.image_size >= SMALLEST_MULTISCALE
    return MultiScaleSimilarity() if enough else f"needs images of at least {SMALLEST_MULTISCALE} px"
