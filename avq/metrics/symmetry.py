"""Whether faces keep their left-right symmetry: asymmetry in pixels and in LPIPS features, beside that of blur."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from avq.metrics.base import FloatArray, MetricObject, mean_and_sigma, unit_images
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.metrics.perceptual import PerceptualDistance, perceptual_protocol

PIXEL = ("symmetry-gap", "symmetry-gap-blur", "symmetry-excess")
PERCEPTUAL = tuple(f"{name}-lpips-squeeze" for name in PIXEL)
_ROUNDS = 20
_SIGMAS = (0.02, 4.0)  # the smallest in pixels, the largest in sides: from no blur to a flat image


class SymmetryGap(MetricObject):
    """a(reconstruction) - a(original), signed, with a(x) the distance of x from its mirror image.

    a is the mean absolute difference of pixels in [0, 1] (`symmetry-gap`) or LPIPS (`symmetry-gap-lpips-squeeze`).
    Blur alone makes a picture more symmetric, so `-blur` gives the same for each original under the Gaussian blur
    that makes its MAE equal to the reconstruction's, and `symmetry-excess` is the gap less that: what a model does
    to symmetry beyond blurring. An image whose MAE no blur reaches has no value, in any of them.

    Args:
        distance: LPIPS, or the reason why there is none.
    """

    name = "symmetry-gap"

    def __init__(self, distance: PerceptualDistance | str) -> None:
        self._distance = distance
        self.reset()

    def reset(self) -> None:
        self._batches: list[dict[str, FloatArray]] = []

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        original, rebuilt = unit_images(reference, reconstruction, self.name)
        error = (original - rebuilt).abs().flatten(1).mean(1)
        blurred, reached = blur_to_error(original, error)
        values = self._gaps(PIXEL, _pixel_asymmetry, original, rebuilt, blurred)
        if isinstance(self._distance, PerceptualDistance):
            values |= self._gaps(PERCEPTUAL, self._perceptual_asymmetry, original, rebuilt, blurred)
        nothing = torch.full_like(error, math.nan)
        self._batches.append(
            {name: torch.where(reached, value, nothing).cpu().numpy() for name, value in values.items()}
        )

    def _gaps(self, names: Sequence[str], asymmetry: object, *images: Tensor) -> dict[str, Tensor]:
        assert callable(asymmetry)
        original, rebuilt, blurred = (asymmetry(part) for part in images)
        return dict(zip(names, (rebuilt - original, blurred - original, rebuilt - blurred), strict=True))

    def _perceptual_asymmetry(self, images: Tensor) -> Tensor:
        assert isinstance(self._distance, PerceptualDistance)
        return self._distance(images * 2 - 1, images.flip(3) * 2 - 1)

    def merge(self, other: Self) -> None:
        self._batches.extend(other._batches)

    def compute(self) -> list[Measurement]:
        return [self._row(name, values) for name, values in self._columns().items()]

    def per_image(self) -> dict[str, FloatArray]:
        return {name: values for name, values in self._columns().items() if values is not None}

    def _columns(self) -> dict[str, FloatArray | None]:
        there = set(PIXEL) if isinstance(self._distance, str) else {*PIXEL, *PERCEPTUAL}
        return {
            name: (np.concatenate([batch[name] for batch in self._batches]) if self._batches else np.zeros(0))
            if name in there
            else None
            for name in (*PIXEL, *PERCEPTUAL)
        }

    def _row(self, name: str, values: FloatArray | None) -> Measurement:
        if values is None:
            assert isinstance(self._distance, str)
            return unavailable(name, self._distance)
        conditions: Mapping[str, object] = {"blur": "gauss-dct", "match": "mae"}
        protocol = protocol_id(name, range="0-1", **conditions)
        if name in PERCEPTUAL and isinstance(self._distance, PerceptualDistance):
            protocol = perceptual_protocol(name, self._distance, **conditions)
        scored = values[~np.isnan(values)]
        if not scored.size:
            return unavailable(name, "no image that a blur of equal MAE could be compared with", protocol=protocol)
        mean, sigma = mean_and_sigma(scored)
        stderr = None if math.isnan(sigma) else sigma / math.sqrt(scored.size)
        return measured(name, mean, stderr=stderr, n=int(scored.size), protocol=protocol)


def _pixel_asymmetry(images: Tensor) -> Tensor:
    return (images - images.flip(3)).abs().flatten(1).mean(1)


def blur_to_error(images: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Each image under the Gaussian blur whose MAE against it is `error`, found by bisection.

    The blur is exact for every sigma, with mirrored edges: a product in the discrete cosine domain.

    Args:
        images: float64 `[B, C, H, W]`.
        error: MAE to reach, `[B]`, in the images' units.

    Returns:
        The blurred images, and bool `[B]`: whether a blur reaches that MAE.
    """
    (height, width), device = images.shape[2:], images.device
    rows, columns = (_cosines(side, device) for side in (height, width))
    spectrum = rows @ images @ columns.T
    squares = _squared_frequency(height, device)[:, None] + _squared_frequency(width, device)

    def blurred(sigma: Tensor) -> Tensor:
        gain = torch.exp(-0.5 * sigma.square().view(-1, 1, 1, 1) * squares)
        return rows.T @ (spectrum * gain) @ columns

    def error_of(sigma: Tensor) -> Tensor:
        return (blurred(sigma) - images).abs().flatten(1).mean(1)

    low = torch.full_like(error, math.log(_SIGMAS[0]))
    high = torch.full_like(error, math.log(_SIGMAS[1] * max(height, width)))
    reached = (error_of(high.exp()) >= error) & (error_of(low.exp()) <= error)
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        below = error_of(middle.exp()) < error
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return blurred(((low + high) / 2).exp()), reached


def _cosines(side: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II matrix `[side, side]`, a frequency a row, float64."""
    places = (torch.arange(side, dtype=torch.float64, device=device) + 0.5) * math.pi / side
    matrix = torch.cos(torch.arange(side, dtype=torch.float64, device=device)[:, None] * places)
    matrix[0] /= math.sqrt(2)
    return matrix * math.sqrt(2 / side)


def _squared_frequency(side: int, device: torch.device) -> Tensor:
    """(pi k / side)^2: radians a pixel, squared, of the cosine number k."""
    return (torch.arange(side, dtype=torch.float64, device=device) * math.pi / side).square()
