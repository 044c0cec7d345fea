"""Gaussian blur, exact for every sigma, of as much as an error asks for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROUNDS = 20
_SIGMAS = (0.02, 4.0)  # the smallest in pixels, the largest in sides: from no blur to a flat image


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
