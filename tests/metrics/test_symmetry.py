"""The symmetry gap: its sign, and the blur of equal error beside it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avq.metrics.blur import blur_to_error
from avq.metrics.symmetry import SymmetryGap

GENERATOR = torch.Generator()


def pictures(count: int = 6, size: int = 24) -> Tensor:
    GENERATOR.manual_seed(0)
    return torch.rand(count, 3, size, size, generator=GENERATOR, dtype=torch.float64) * 1.6 - 0.8


def values(original: Tensor, rebuilt: Tensor) -> dict[str, float | None]:
    metric = SymmetryGap("no LPIPS here")
    metric.update(original, rebuilt, [])
    return {row.metric: row.value for row in metric.compute()}


def test_the_blur_reaches_the_error_asked_for() -> None:
    images = (pictures() + 1) / 2
    target = torch.tensor([0.02, 0.05, 0.1, 0.15, 0.001, 0.6], dtype=torch.float64)
    blurred, reached = blur_to_error(images, target)
    found = (blurred - images).abs().flatten(1).mean(1)
    assert reached.tolist() == [True] * 5 + [False]  # a flat picture is not that far away
    torch.testing.assert_close(found[:5], target[:5], rtol=1e-4, atol=0)


def test_the_blur_is_scipys_gaussian() -> None:
    from scipy.ndimage import gaussian_filter

    images = (pictures(1, 32) + 1) / 2
    expected = torch.from_numpy(gaussian_filter(images[0, 0].numpy(), 1.7, mode="reflect", truncate=10))
    error = (torch.stack([torch.from_numpy(gaussian_filter(c.numpy(), 1.7, mode="reflect", truncate=10))
                          for c in images[0]]) - images[0]).abs().mean()  # fmt: skip
    blurred, _ = blur_to_error(images, error[None])
    torch.testing.assert_close(blurred[0, 0], expected, rtol=0, atol=1e-4)


def test_a_blurred_reconstruction_has_no_excess() -> None:
    original = pictures()
    blurred, _ = blur_to_error((original + 1) / 2, torch.full((6,), 0.08, dtype=torch.float64))
    found = values(original, blurred * 2 - 1)
    assert found["symmetry-gap"] < -0.01  # blur makes a picture more symmetric
    assert found["symmetry-gap"] == pytest.approx(found["symmetry-gap-blur"], rel=1e-3)
    assert found["symmetry-excess"] == pytest.approx(0, abs=1e-4)


def test_a_mirrored_half_is_more_symmetric_than_blur_and_a_broken_one_less() -> None:
    original = pictures()
    mirrored = original.clone()
    mirrored[..., 12:] = original[..., :12].flip(3)
    assert values(original, mirrored)["symmetry-excess"] < -0.05
    symmetric = (original + original.flip(3)) / 2
    broken = symmetric.clone()
    broken[..., :12] = broken[..., :12] * 0.5
    assert values(symmetric, broken)["symmetry-gap"] > 0.01


def test_perceptual_cells_say_why_they_are_empty() -> None:
    metric = SymmetryGap("no LPIPS here")
    metric.update(pictures(), pictures() * 0.9, [])
    rows = {row.metric: row for row in metric.compute()}
    assert rows["symmetry-gap-lpips-squeeze"].reason == "no LPIPS here"
    assert set(metric.per_image()) == {"symmetry-gap", "symmetry-gap-blur", "symmetry-excess"}
