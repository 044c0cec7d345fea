"""Values as people read them."""

from __future__ import annotations

import pytest

from avq.metrics.format import format_value


@pytest.mark.parametrize(
    ("metric", "value", "spread", "text"),
    [
        ("mae", 0.04551, None, "0.0455"),
        ("mae", 0.04551, 0.00042, "0.0455 ± 0.0004"),
        ("mae", None, None, "-"),
        ("params-trainable", 1388867, None, "1.39 M"),
        ("params-trainable", 132096, None, "132 k"),
        ("params-trainable", 999700, None, "1000 k"),
        ("params-trainable", 812, None, "812"),
        ("macs", 2.5e9, None, "2.5 G"),
        ("codebook-utilization", 0.5, None, "0.50"),
        ("fd-squeezenet", 13110.4, 1751.6, "13110 ± 1752"),
        ("fd-squeezenet", 12.3456, 0.1234567, "12.35 ± 0.1235"),
        ("attention-gain", 0.0000123, None, "1.23e-05"),
    ],
)
def test_values_are_printed_with_sensible_digits(
    metric: str, value: float | None, spread: float | None, text: str
) -> None:
    assert format_value(metric, value, spread) == text
