"""How p values and differences are printed."""

from __future__ import annotations

import math

import pytest

from avq.metrics.registry import METRICS
from avq.reporting.formatting import MINUS, p_value, signed, size_of


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0496, "0.050"), (math.nan, "-")]
)
def test_p_values(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("metric", "difference", "text"),
    [
        ("mae", 0.00123, "+0.00123"),
        ("mae", -0.00123, "-0.00123"),
        ("mae", 0.0, "+0.00000"),
        ("macs", -2.5e6, "-2.5 M"),
        ("mae", math.nan, "-"),
    ],
)
def test_differences_have_a_digit_more_than_values(metric: str, difference: float, text: str) -> None:
    assert signed(difference, METRICS[metric]) == text
    assert signed(difference, METRICS[metric], MINUS) == (text if text == "-" else text.replace("-", MINUS))
    if text != "-":
        assert size_of(difference, METRICS[metric]) == text[1:]
