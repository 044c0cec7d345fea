"""A transposed convolution as torch's, but for how the bias's gradient is computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from avq.models.convolution import TransposedConvolution
from avq.models.zoo import create_variant


def pair(kernel: int, stride: int, padding: int, bias: bool = True) -> tuple[nn.ConvTranspose2d, nn.ConvTranspose2d]:
    """Ours and torch's, of the same weights in float64."""
    ours = TransposedConvolution(5, 3, kernel, stride, padding, bias=bias).double()
    theirs = nn.ConvTranspose2d(5, 3, kernel, stride, padding, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@given(
    kernel=st.integers(1, 4), stride=st.integers(1, 3), height=st.integers(1, 6), width=st.integers(1, 6),
    images=st.integers(1, 3), last=st.booleans(),
)  # fmt: skip
@settings(max_examples=25)
def test_values_and_gradients_are_those_of_torch(
    kernel: int, stride: int, height: int, width: int, images: int, last: bool
) -> None:
    layers = pair(kernel, stride, 0)
    x = torch.randn(images, 5, height, width, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    found = []
    for layer in layers:
        given_x = x.clone().requires_grad_()
        out = layer(given_x)
        gradients = torch.autograd.grad(out.relu_().square().sum(), [given_x, *layer.parameters()])  # in place after it
        found.append([out, *gradients])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_image_without_a_batch() -> None:
    ours, theirs = pair(4, 2, 1)
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    assert ours.bias is not None
    assert theirs.bias is not None
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_gradcheck() -> None:
    layer, _ = pair(4, 2, 1)
    x = torch.randn(2, 5, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = tuple(weight.detach().requires_grad_() for weight in layer.parameters())
    names = [name for name, _ in layer.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,)), (x, *weights)
    )


def test_without_bias_and_with_an_output_size_it_is_the_parent() -> None:
    x = torch.randn(1, 5, 4, 4, dtype=torch.float64)
    for layers, size in [(pair(4, 2, 1, bias=False), None), (pair(3, 2, 1), [8, 8])]:
        ours, theirs = (layer(x, size) for layer in layers)
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("variant", ["aren-2", "vqvae2"])
def test_no_transposed_layer_of_the_zoo_asks_for_the_bias_with_the_weights(variant: str) -> None:
    layers = [layer for layer in create_variant(variant).modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert layers
    assert all(isinstance(layer, TransposedConvolution) for layer in layers)


def test_under_autocast_the_bias_has_a_float32_gradient() -> None:
    layer = TransposedConvolution(5, 3, 4, 2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.randn(2, 5, 4, 4))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert layer.bias is not None
    assert layer.bias.grad is not None
    assert layer.bias.grad.dtype == torch.float32
    torch.testing.assert_close(layer.bias.grad, torch.full((3,), 2.0 * 8 * 8))
