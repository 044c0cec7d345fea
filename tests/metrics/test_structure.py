"""Where structural similarity can be had."""

from __future__ import annotations

import pytest

from avq.metrics.structure import ms_ssim, ssim
from avq.metrics.subject import Subject


@pytest.mark.parametrize(
    ("side", "smallest"), [(10, [11, 161]), (11, [None, 161]), (160, [None, 161]), (161, [None] * 2)]
)
def test_small_images_are_refused_with_the_side_that_is_needed(side: int, smallest: tuple[int, int]) -> None:
    for measure, needed in zip((ssim, ms_ssim), smallest, strict=True):
        made = measure(Subject([], [], side))
        assert made == f"needs images of at least {needed} px" if needed else not isinstance(made, str)
