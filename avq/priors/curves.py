"""Curves of rate and distortion: a value between their points, and the Bjontegaard-delta rate; no extrapolation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from avq.errors import NotComparable, UsageError


def distortion_at(rate: float, rates: ArrayLike, distortions: ArrayLike) -> float:
    """The distortion of a curve at a rate, by a monotone cubic (PCHIP) over log rate.

    Raises:
        NotComparable: the rate is beyond the curve's.
        UsageError: the curve has one point, or two at one rate.
    """
    curve = _pchip(np.log(rates), distortions, "rate")
    if not curve.x[0] <= np.log(rate) <= curve.x[-1]:
        raise NotComparable(
            f"not comparable: the curve goes from {np.min(rates):.4g} to {np.max(rates):.4g}, not {rate:.4g}."
        )
    return float(curve(np.log(rate)))


def bd_rate(rates: ArrayLike, distortions: ArrayLike, anchor_rates: ArrayLike, anchor_distortions: ArrayLike) -> float:
    """The mean difference in rate at equal distortion, in per cent of the anchor's; below 0 is less rate.

    Bjontegaard (VCEG-M33, 2001) with piecewise cubic interpolation (PCHIP, as in JCTVC-L1100) of log rate over the
    distortions that both curves have. Distortions may be errors or PSNR.

    Raises:
        NotComparable: the curves share no distortion.
        UsageError: a curve has one point, or two of one distortion.
    """
    ours = _pchip(distortions, np.log(rates), "distortion")
    anchor = _pchip(anchor_distortions, np.log(anchor_rates), "distortion")
    low, high = max(ours.x[0], anchor.x[0]), min(ours.x[-1], anchor.x[-1])
    if low >= high:
        raise NotComparable(
            f"not comparable: distortions {ours.x[0]:.4g} to {ours.x[-1]:.4g} and the anchor's {anchor.x[0]:.4g} to "
            f"{anchor.x[-1]:.4g} do not overlap."
        )
    difference = (ours.integrate(low, high) - anchor.integrate(low, high)) / (high - low)
    return float(100 * np.expm1(difference))


def _pchip(x: ArrayLike, y: ArrayLike, what: str) -> PchipInterpolator:
    order = np.argsort(x)
    points, values = np.asarray(x, float)[order], np.asarray(y, float)[order]
    if len(points) < 2 or (np.diff(points) <= 0).any() or not np.isfinite([points, values]).all():
        raise UsageError(f"a curve needs two points at least, no two of one {what}, and finite numbers.")
    return PchipInterpolator(points, values)
