"""Residual pixel attention against the formula written with loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avq.models.attention import ResidualPixelAttention

SIMILARITIES = ["sigmoid", "sigmoid-bias", "sigmoid-mean", "softmax", "gated", "uniform"]


def by_hand(layer: ResidualPixelAttention, x: Tensor) -> Tensor:
    """The layer's output pixel by pixel, float64."""

    def apply(conv: torch.nn.Conv2d | None, pixel: Tensor) -> Tensor:
        return pixel if conv is None else conv.weight[:, :, 0, 0] @ pixel + conv.bias

    _, _, height, width = x.shape
    n = height * width
    out = []
    for image in x:
        pixels = image.flatten(1).unbind(1)
        base = [apply(layer.g1, p) for p in pixels] if layer.form == "projected" else list(pixels)
        rows = []
        for i in range(n):
            logits = torch.zeros(n, dtype=x.dtype)
            if layer.similarity != "uniform":
                logits = torch.stack([apply(layer.g1, pixels[i]) @ apply(layer.g2, pixels[j]) for j in range(n)])
            weights = {
                "sigmoid": lambda v: 1 / (1 + (-v).exp()),
                "sigmoid-bias": lambda v: 1 / (1 + (-(v - math.log(n))).exp()),
                "sigmoid-mean": lambda v: 1 / (1 + (-v).exp()) / n,
                "softmax": lambda v: v.exp() / v.exp().sum(),
                "gated": lambda v: layer.gate * v.exp() / v.exp().sum(),
                "uniform": lambda v: torch.full_like(v, 1 / n),
            }[layer.similarity](logits)
            rows.append(base[i] + sum(w * b for w, b in zip(weights, base, strict=True)))
        out.append(torch.stack(rows, 1).view(-1, height, width))
    return torch.stack(out)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("form", ["literal", "projected"])
@given(height=st.integers(1, 4), width=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=8)
def test_equals_the_formula(form: str, similarity: str, height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = ResidualPixelAttention(5, 5 if form == "projected" else 3, form, similarity).double()
    if layer.gate is not None:
        torch.nn.init.constant_(layer.gate, 0.7)
    x = torch.randn(2, 5, height, width, dtype=torch.float64)
    assert torch.allclose(layer(x), by_hand(layer, x), atol=1e-12)


@pytest.mark.parametrize("pixels", [4, 16])
def test_raw_sigmoid_grows_with_the_image_and_its_mean_does_not(pixels: int) -> None:
    """The hazard of the raw formula: logits near zero make W x about N/2 times the mean pixel."""
    x = torch.ones(1, 8, pixels, pixels)
    raw, mean = (ResidualPixelAttention(8, 4, similarity=s) for s in ("sigmoid", "sigmoid-mean"))
    for layer in (raw, mean):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    assert torch.allclose(raw.parts(x)[1], x * pixels**2 / 2)
    assert torch.allclose(mean.parts(x)[1], x / 2)


def test_a_gate_starts_as_the_identity() -> None:
    x = torch.randn(2, 8, 3, 3)
    assert torch.equal(ResidualPixelAttention(8, 4, similarity="gated")(x), x)


def test_bfloat16_autocast_does_not_round_the_update_away() -> None:
    layer, x = ResidualPixelAttention(8, 8), torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, layer(x))


def test_pixels_may_be_permuted() -> None:
    layer, x = ResidualPixelAttention(6, 6, similarity="softmax").double(), torch.randn(1, 6, 3, 4).double()
    order = torch.randperm(12)
    shuffled = x.flatten(2)[..., order].view_as(x)
    assert torch.allclose(layer(shuffled).flatten(2), layer(x).flatten(2)[..., order])


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(("form", "heads"), [("literal", 1), ("projected", 1), ("literal", 3), ("projected", 2)])
def test_chosen_rows_of_weights_give_the_update_of_their_pixels(form: str, heads: int, similarity: str) -> None:
    torch.manual_seed(0)
    layer = ResidualPixelAttention(6, 6, form, similarity, heads=heads).double()
    if layer.gate is not None:
        torch.nn.init.constant_(layer.gate, 0.7)
    x, rows = torch.randn(2, 6, 3, 4, dtype=torch.float64), torch.tensor([7, 0, 11])
    base, update = layer.parts(x)
    weights = layer.log_weights(x, rows).exp()
    assert weights.shape == (2, heads, 3, 12)
    expected = torch.einsum("bhrn,bhcn->bhcr", weights, base.view(2, heads, 6 // heads, 12)).reshape(2, 6, 3)
    expected = expected if layer.gate is None else layer.gate * expected
    assert torch.allclose(update.flatten(2)[..., rows], expected, atol=1e-12)


def test_logarithms_survive_where_a_sigmoid_is_zero() -> None:
    layer = ResidualPixelAttention(2, 2)
    for convolution, sign in ((layer.g1, 1), (layer.g2, -1)):
        torch.nn.init.eye_(convolution.weight[:, :, 0, 0])  # type: ignore[union-attr]
        torch.nn.init.constant_(convolution.bias, 20.0 * sign)  # type: ignore[union-attr]
    logs = layer.log_weights(torch.zeros(1, 2, 2, 2), torch.tensor([0]))
    assert torch.allclose(logs, torch.full_like(logs, -800))
