"""Where structural similarity can be had."""

from __future__ import annotations

import pytest

from avq.metrics.structure import structure_metrics


@pytest.mark.parametrize(("side", "there"), [(10, []), (11, ["ssim"]), (160, ["ssim"]), (161, ["ssim", "ms-ssim"])])
def test_small_images_are_refused_with_the_side_that_is_needed(side: int, there: list[str]) -> None:
    absent = {row.metric: row.reason for metric in structure_metrics(side) for row in metric.compute() if row.reason}
    needed = {"ssim": "needs images of at least 11 px", "ms-ssim": "needs images of at least 161 px"}
    expected = {name: reason for name, reason in needed.items() if name not in there}
    assert absent.keys() >= expected.keys()
    assert all("161" in absent[name] or side < 11 for name in expected)
