"""How a cost grows: the exponent in the side of the latent, from a straight line through logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEAST_SIDE = 64  # below it, constants and caches decide what is measured, not the growth
_ENOUGH = 3  # points that leave a straight line a spread of its own


@dataclass(frozen=True)
class Growth:
    """A fitted exponent: value ~ side ** exponent.

    Attributes:
        stderr: its standard error, and `low` to `high` the interval by Student's t with n - 2 degrees of freedom;
            NaN for two points, which always lie on a line.
        sides: what it was fitted over, ascending.
    """

    exponent: float
    stderr: float
    low: float
    high: float
    sides: tuple[int, ...]


def fit_growth(sides: Sequence[int], values: Sequence[float], confidence: float = 0.95) -> Growth | None:
    """Fit the exponent by least squares over the logarithms.

    Over sides of `LEAST_SIDE` and above if three or more of them have a value, else over all.

    Args:
        sides: sides of the latent, in pixels, each once.
        values: what was measured there; zeros (too small to measure) are left out.
        confidence: of the interval.

    Returns:
        None for fewer than two points.
    """
    points = sorted((side, value) for side, value in zip(sides, values, strict=True) if value > 0)
    large = [point for point in points if point[0] >= LEAST_SIDE]
    chosen = large if len(large) >= _ENOUGH else points
    if len(chosen) < 2:
        return None
    fit = stats.linregress(*np.log(np.array(chosen, dtype=float)).T)
    exponent, stderr, reach = float(fit.slope), math.nan, math.nan
    if len(chosen) >= _ENOUGH:
        stderr = float(fit.stderr)
        reach = stderr * float(stats.t.ppf((1 + confidence) / 2, len(chosen) - 2))
    return Growth(exponent, stderr, exponent - reach, exponent + reach, tuple(side for side, _ in chosen))
