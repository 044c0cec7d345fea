from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avq.profiling.growth import fit_growth


@given(st.floats(0.5, 5), st.floats(1e-3, 1e3), st.lists(st.integers(1, 2**12), min_size=2, unique=True))
def test_a_power_is_found_again(exponent: float, factor: float, sides: list[int]) -> None:
    growth = fit_growth(sides, [factor * side**exponent for side in sides])
    assert growth is not None
    assert growth.exponent == pytest.approx(exponent, rel=1e-6)
    assert growth.sides == tuple(sorted(growth.sides))


def test_interval_by_hand() -> None:
    """Residuals of a symmetric V over x = -1, 0, 1 (in powers of e): slope 1, one degree of freedom, t = 12.706."""
    sides = [100, 200, 400]
    values = [100.0, 200 * math.e**0.3, 400.0]
    growth = fit_growth(sides, values)
    assert growth is not None
    step = math.log(2)
    residual = 0.3**2 * (1 / 9 + 4 / 9 + 1 / 9)
    stderr = math.sqrt(residual / 1 / (2 * step**2))
    assert growth.exponent == pytest.approx(1)
    assert growth.stderr == pytest.approx(stderr)
    assert growth.high - growth.exponent == pytest.approx(12.7062 * stderr, rel=1e-4)
    assert growth.low + growth.high == pytest.approx(2 * growth.exponent)


def test_small_sides_are_left_out_where_three_others_are_there() -> None:
    growth = fit_growth([16, 64, 128, 256], [1e6, 64.0**2, 128.0**2, 256.0**2])
    assert growth is not None
    assert growth.sides == (64, 128, 256)
    assert growth.exponent == pytest.approx(2)
    fewer = fit_growth([16, 64, 128], [16.0, 64.0, 128.0])
    assert fewer is not None
    assert fewer.sides == (16, 64, 128)


def test_two_points_have_no_interval_and_one_has_no_slope() -> None:
    growth = fit_growth([16, 32, 64], [0.0, 1.0, 4.0])  # nothing was seen at 16
    assert growth is not None
    assert growth.exponent == pytest.approx(2)
    assert math.isnan(growth.low)
    assert fit_growth([16, 32], [0.0, 1.0]) is None
