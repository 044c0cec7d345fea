"""Pixel errors: closed forms, independence of batches, refusal of damaged input."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.errors import AvqError
from avq.metrics.base import MeanPerImage
from avq.metrics.error import EyeError, MeanAbsoluteError, MeanSquaredError, PeakSignalToNoise

ALL: list[type[MeanPerImage]] = [MeanAbsoluteError, MeanSquaredError, PeakSignalToNoise]
GREY = torch.zeros(4, 3, 8, 8)


def images(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def result(metric: MeanPerImage) -> dict[str, float | None]:
    return {row.metric: row.value for row in metric.compute()}


def test_a_constant_shift_has_closed_forms() -> None:
    shifted = GREY + 0.2  # 0.1 in [0, 1]
    for metric, value in (
        (MeanAbsoluteError(), 0.1),
        (MeanSquaredError(), 0.01),
        (PeakSignalToNoise(), 20.0),
    ):
        metric.update(GREY, shifted, [])
        assert result(metric)[metric.name] == pytest.approx(value, rel=1e-6)


def test_sigma_and_stderr_are_over_images() -> None:
    metric = MeanAbsoluteError()
    metric.update(GREY[:2], GREY[:2] + torch.tensor([0.2, 0.6]).view(2, 1, 1, 1), [])
    mae, sigma = metric.compute()
    assert mae.value == pytest.approx(0.2, rel=1e-6)
    assert sigma.value == pytest.approx(np.std([0.1, 0.3], ddof=1), rel=1e-6)
    assert mae.stderr == pytest.approx(sigma.value / math.sqrt(2))
    assert mae.n == 2


def test_psnr_is_the_mean_over_images_and_is_capped() -> None:
    metric = PeakSignalToNoise()
    metric.update(GREY[:2], GREY[:2] + torch.tensor([0.2, 0.0]).view(2, 1, 1, 1), [])
    assert result(metric)["psnr"] == pytest.approx((20 + 100) / 2, rel=1e-6)


def test_the_reconstruction_is_clamped_to_the_range() -> None:
    metric = MeanAbsoluteError()
    metric.update(torch.ones(1, 3, 8, 8), torch.full((1, 3, 8, 8), 7.0), [])
    assert result(metric)["mae"] == 0


@pytest.mark.parametrize("kind", ALL)
@given(cuts=st.lists(st.integers(1, 9), max_size=4), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_batches_and_their_order_do_not_matter(kind: type[MeanPerImage], cuts: list[int], seed: int) -> None:
    reference, rebuilt = images(10, seed), images(10, seed + 1)
    whole, forward, backward = kind(), kind(), kind()
    whole.update(reference, rebuilt, [])
    parts = [slice(*edges) for edges in pairwise([0, *sorted(set(cuts)), 10])]
    for metric, order in ((forward, parts), (backward, parts[::-1])):
        for part in order:
            metric.update(reference[part], rebuilt[part], [])
    assert result(forward) == result(backward)  # to the last bit
    for name, value in result(whole).items():
        assert result(forward)[name] == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(forward.values(), whole.values(), rtol=1e-13)


def test_no_images_have_no_error() -> None:
    assert [row.status for row in MeanAbsoluteError().compute()] == ["n/a", "n/a"]


@pytest.mark.parametrize("kind", ALL)
def test_a_nan_is_refused_by_name(kind: type[MeanPerImage]) -> None:
    broken = GREY.clone()
    broken[2, 0, 3, 3] = math.nan
    with pytest.raises(AvqError, match=rf"{kind.name}: the reconstruction .*not finite.*first at 2"):
        kind().update(GREY, broken, [])


@pytest.mark.parametrize(
    ("reference", "rebuilt", "says"),
    [
        ((GREY + 127).to(torch.uint8), GREY, "reference is uint8"),
        (GREY + 255, GREY, "reference spans 255 to 255"),
        (GREY, GREY + 255, "reconstruction spans"),
        (GREY, GREY[:, :, :4], "must both be"),
        (GREY[0], GREY[0], "must both be"),
    ],
)
def test_wrong_ranges_types_and_shapes_are_refused(reference: torch.Tensor, rebuilt: torch.Tensor, says: str) -> None:
    with pytest.raises(AvqError, match=says):
        MeanAbsoluteError().update(reference, rebuilt, [])


def test_eye_error_counts_only_the_mask() -> None:
    mask = torch.zeros(4, 8, 8, dtype=torch.bool)
    mask[:3, 2:4, 2:4] = True  # the fourth image has no second eye
    rebuilt = GREY + 0.2
    rebuilt[:, :, 2:4, 2:4] = 0.5
    metric = EyeError()
    metric.update(GREY, rebuilt, [], second_eye=mask)
    (row,) = metric.compute()
    assert row.value == pytest.approx(0.25)
    assert row.n == 3
    assert np.isnan(metric.per_image()["eye-mae"][3])


def test_eye_error_without_masks_says_why() -> None:
    metric = EyeError()
    metric.update(GREY, GREY, [])
    (row,) = metric.compute()
    assert row.status == "n/a"
    assert row.value is None
    assert "no mask" in row.reason


def test_eye_error_refuses_another_mask() -> None:
    with pytest.raises(AvqError, match="bool mask"):
        EyeError().update(GREY, GREY, [], second_eye=torch.ones(4, 8, 8))
