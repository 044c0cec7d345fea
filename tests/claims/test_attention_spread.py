"""Attention distance and entropy where they are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from avq.evaluation.attention import image_spread
from avq.metrics.attention import row_spread
from avq.models.attention import ResidualPixelAttention


def uniform_distance(height: int, width: int) -> float:
    """Mean distance of two pixels drawn at random, counted by their offsets, over the longer side."""
    pairs = (
        (height - abs(dy)) * (width - abs(dx)) * math.hypot(dy, dx)
        for dy in range(1 - height, height)
        for dx in range(1 - width, width)
    )
    return math.fsum(pairs) / (height * width) ** 2 / max(height, width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (8, 8), (5, 9), (1, 7)])
def test_uniform_attention(height: int, width: int) -> None:
    layer = ResidualPixelAttention(4, 4, similarity="uniform")
    distance, entropy = image_spread(layer, torch.randn(2, 4, height, width))
    assert distance.tolist() == pytest.approx([uniform_distance(height, width)] * 2, rel=1e-6)
    assert entropy.tolist() == pytest.approx([1, 1], rel=1e-6)


def test_uniform_attention_over_a_fine_latent_nears_the_mean_distance_in_a_unit_square() -> None:
    square = (2 + math.sqrt(2) + 5 * math.log(1 + math.sqrt(2))) / 15  # 0.5214, Santalo 1976
    layer = ResidualPixelAttention(4, 4, similarity="uniform")
    assert float(image_spread(layer, torch.randn(1, 4, 48, 48))[0]) == pytest.approx(square, rel=1e-3)
    assert uniform_distance(2, 2) == pytest.approx((2 + math.sqrt(2)) / 8)  # 0.43: a coarse latent has few distances


@pytest.mark.parametrize("similarity", ["sigmoid", "sigmoid-bias", "sigmoid-mean", "softmax", "gated"])
def test_every_kind_is_uniform_where_all_pixels_are_alike(similarity: str) -> None:
    """Rows of the sigmoid kinds sum to anything, and are normalised."""
    layer = ResidualPixelAttention(4, 4, similarity=similarity)
    distance, entropy = image_spread(layer, torch.ones(1, 4, 6, 6))
    assert float(distance) == pytest.approx(uniform_distance(6, 6), rel=1e-5)
    assert float(entropy) == pytest.approx(1, rel=1e-5)


def test_a_pixel_that_looks_at_one_other() -> None:
    rows = torch.tensor([0, 5])
    weights = torch.full((1, 2, 12), -math.inf)
    weights[0, 0, 11] = weights[0, 1, 5] = 3.0  # of 3x4: the far corner; itself
    distance, entropy = row_spread(weights, rows, (3, 4))
    assert distance[0].tolist() == pytest.approx([math.hypot(2, 3) / 4, 0])
    assert entropy[0].tolist() == pytest.approx([0, 0])


def test_two_equal_weights_are_ln_2() -> None:
    weights = torch.full((1, 1, 16), -math.inf)
    weights[0, 0, [3, 9]] = -700.0  # far below what float32 holds as a weight
    _, entropy = row_spread(weights, torch.tensor([0]), (4, 4))
    assert float(entropy) == pytest.approx(math.log(2) / math.log(16))


def test_a_single_pixel_has_no_spread() -> None:
    assert all(part.isnan().all() for part in row_spread(torch.zeros(2, 1, 1), torch.tensor([0]), (1, 1)))
