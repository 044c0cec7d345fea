"""Curves of rate and distortion: closed forms, and no extrapolation."""

from __future__ import annotations

import numpy as np
import pytest

from avq.errors import NotComparable, UsageError
from avq.priors.curves import bd_rate, distortion_at

RATES = np.array([0.2, 0.3, 0.45, 0.7])
PSNR = np.array([30.0, 31.5, 33.0, 34.0])


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.3])
@pytest.mark.parametrize("sign", [1, -0.01])  # PSNR grows with rate, errors fall
def test_a_curve_of_a_constant_factor(factor: float, sign: float) -> None:
    assert bd_rate(factor * RATES, sign * PSNR, RATES, sign * PSNR) == pytest.approx(100 * (factor - 1), abs=1e-9)
    backwards = bd_rate(factor * RATES[::-1], sign * PSNR[::-1], RATES, sign * PSNR)
    assert backwards == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_only_the_overlap_counts() -> None:
    """log rate is a line in distortion with another slope: the mean difference is the one in the overlap's middle."""
    distortions = np.linspace(0, 4, 9)
    ours, anchor = np.exp(distortions[:7]), np.exp(0.5 * distortions[4:] + 1)
    assert bd_rate(ours, distortions[:7], anchor, distortions[4:]) == pytest.approx(100 * np.expm1(0.5 * 2.5 - 1))


def test_between_points_and_not_beyond_them() -> None:
    assert distortion_at(0.3, RATES, PSNR) == pytest.approx(31.5)
    assert 31.5 < distortion_at(0.35, RATES, PSNR) < 33
    with pytest.raises(NotComparable, match=r"not comparable: the curve goes from 0.2 to 0.7, not 0.8"):
        distortion_at(0.8, RATES, PSNR)
    with pytest.raises(NotComparable, match="not comparable: distortions 30 to 34 and the anchor's 35 to 39 do not"):
        bd_rate(RATES, PSNR, RATES, PSNR + 5)


@pytest.mark.parametrize(
    ("rates", "psnr"), [(RATES[:1], PSNR[:1]), (RATES, np.full(4, 30.0)), (RATES, [1, 2, 3, np.nan]), (0 * RATES, PSNR)]
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_curves_that_are_none(rates: np.ndarray, psnr: np.ndarray) -> None:
    with pytest.raises(UsageError, match="a curve needs two points"):
        bd_rate(rates, psnr, RATES, PSNR)
