"""Structural similarity of one scale and of five."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from avq.metrics.base import MeanPerImage
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from avq.metrics.subject import Subject

register_metric(
    Metric("ssim", title="structural similarity, per image, then mean", label="SSIM", better="higher", place=30,
           measured_by="avq.metrics.structure:ssim"),
    Metric("ms-ssim", title="the same over five scales (from 161 px)", label="MS-SSIM", better="higher", place=30,
           measured_by="avq.metrics.structure:ms_ssim"),
)  # fmt: skip

WINDOW, _SIGMA = 11, 1.5  # px, a Gaussian (Wang et al. 2004)
_C1, _C2 = 0.01**2, 0.03**2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST_MULTISCALE = (WINDOW - 1) * 2**4 + 1  # px: the window must fit after four halvings


class StructuralSimilarity(MeanPerImage):
    """`ssim`: Wang et al. 2004, K1 = .01, K2 = .03, valid windows only, per channel, then mean."""

    name = "ssim"
    conditions: ClassVar = {"range": "0-1", "window": "gauss11-1.5", "colour": "channels"}

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        return similarity(reference, reconstruction)[0].mean(1)


class MultiScaleSimilarity(StructuralSimilarity):
    """`ms-ssim`: Wang et al. 2003, five scales with the published weights; negative contrast terms count as 0."""

    name = "ms-ssim"
    conditions: ClassVar = StructuralSimilarity.conditions | {"scales": 5}

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        from torch.nn.functional import avg_pool2d

        product, x, y = reference.new_ones(reference.shape[:2]), reference, reconstruction
        for weight in _SCALE_WEIGHTS:
            whole, contrast = similarity(x, y)
            product *= (whole if weight == _SCALE_WEIGHTS[-1] else contrast).relu() ** weight
            odd = [side % 2 for side in x.shape[2:]]
            x, y = avg_pool2d(x, 2, padding=odd), avg_pool2d(y, 2, padding=odd)
        return product.mean(1)


def similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM, and its contrast and structure term alone, of images in [0, 1] `[B, C, H, W]`: float64 `[B, C]` each.

    The filters run in float32, as products with a band matrix along each side. Variances and covariance come from the
    filtered squares of sum and difference of centred images, which loses so few digits that the mean over images is
    that of float64 to 1e-7.
    """
    import torch

    x, y = first.float() - 0.5, second.float() - 0.5
    down, right = (_band(side, x.device) for side in x.shape[2:])
    mean_x, mean_y = down @ x @ right.t(), down @ y @ right.t()
    of_sum = down @ (x + y).square() @ right.t() - (mean_x + mean_y).square()
    of_difference = down @ (x - y).square() @ right.t() - (mean_x - mean_y).square()
    contrast = (of_sum - of_difference + 2 * _C2) / (of_sum + of_difference + 2 * _C2)
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    whole = contrast * (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    return whole.mean((2, 3), dtype=torch.float64), contrast.mean((2, 3), dtype=torch.float64)


@cache
def _band(side: int, device: torch.device) -> Tensor:
    """`[side - 10, side]`, float32: the Gaussian window at every place where it fits into a row."""
    import torch

    places = torch.arange(side, dtype=torch.float64, device=device)
    window = torch.exp(-(places[:WINDOW] - WINDOW // 2).square() / (2 * _SIGMA**2))
    band = places.new_zeros(side - WINDOW + 1, side)
    for row in range(len(band)):
        band[row, row : row + WINDOW] = window / window.sum()
    return band.float()


def ssim(subject: Subject) -> StructuralSimilarity | str:
    """SSIM, or the side that images need for it."""
    return StructuralSimilarity() if subject.image_size >= WINDOW else f"needs images of at least {WINDOW} px"


def ms_ssim(subject: Subject) -> MultiScaleSimilarity | str:
    """MS-SSIM, or the side that images need for it."""
    enough = subject.image_size >= SMALLEST_MULTISCALE
    return MultiScaleSimilarity() if enough else f"needs images of at least {SMALLEST_MULTISCALE} px"
