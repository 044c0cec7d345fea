"""Costs against counts made by hand."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from avq.models.attention import ResidualPixelAttention
from avq.profiling.meters import LARGEST_INPUT, macs, parameter_counts, positive_copy, receptive_field, throughput


class Backbone(nn.Module):
    """Two stride-2 convolutions and a third on top, with a normalisation and a dead path between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 3, 2, 1)
        self.third = nn.Conv2d(8, 8, 3, 1, 1)
        nn.init.zeros_(self.third.weight)

    def response(self, images: Tensor) -> list[Tensor]:
        bottom = self.second(self.first(images))
        return [bottom, self.third(bottom)]


def test_parameters_are_counted_apart() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
    module[0].bias.requires_grad_(False)
    values = {row.metric: row.value for row in parameter_counts(module, 7)}
    assert values == {"params-trainable": 20 + 10, "params-codebook": 7, "params-buffers": 5 + 5 + 1}


def test_macs_of_a_convolution_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert macs(lambda: conv(torch.zeros(1, 3, 16, 16))) == 3 * 8 * 9 * 16 * 16


def test_macs_of_attention_by_hand() -> None:
    u = torch.zeros(1, 64, 16)
    assert macs(lambda: torch.sigmoid(u @ u.transpose(1, 2)) @ u) == 2 * 64 * 64 * 16


@pytest.mark.parametrize("size", [16, 4])
def test_receptive_fields_by_the_formula_also_where_larger_than_the_image(size: int) -> None:
    """r = 1 + sum of (kernel - 1) x stride before: 4; 4 + 2 * 2 = 8; 8 + 2 * 4 = 16, dead weights or not."""
    assert receptive_field(positive_copy(Backbone()).response, size) == [8, 16]


def test_a_global_field_is_answered_with_the_largest_input() -> None:
    def everywhere(images: Tensor) -> list[Tensor]:
        return [images + images.mean(dim=(2, 3), keepdim=True)]

    assert receptive_field(everywhere, LARGEST_INPUT // 2) == [LARGEST_INPUT]


def test_a_backbone_without_levels_has_no_fields() -> None:
    assert receptive_field(lambda images: [], 32) == []


def test_the_original_is_left_alone() -> None:
    module = Backbone()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    positive_copy(module)
    assert module.first[0].weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_throughput_is_the_median() -> None:
    naps = iter([0, 0, 0.01, 0.01, 0.2])
    row = throughput("train-images-per-s", lambda: time.sleep(next(naps)), 3, warmup=2, batch=10, threads=1)
    assert row.value is not None
    assert 500 < row.value < 1001
    assert row.stderr is not None
    assert row.stderr > 0
    assert row.n == 3
    assert row.protocol == "train-images-per-s.1:batch=10;threads=1;repeats=3"
    assert row.unit == "images/s"


@pytest.mark.parametrize("similarity", ["sigmoid", "softmax"])
@pytest.mark.parametrize("attention_dim", [8, 16])
def test_attention_costs_the_same_either_way(similarity: str, attention_dim: int) -> None:
    """N x N x (c + C) and the two convolutions, also where torch's own counter does not know the fused kernel."""
    layer, x = ResidualPixelAttention(16, attention_dim, similarity=similarity), torch.zeros(1, 16, 24, 24)
    found = {}
    for implementation in ("dense", "linear"):
        layer.implementation = implementation
        found[implementation] = macs(lambda: layer(x))
    pixels = 24 * 24
    assert found["dense"] == found["linear"] == pixels**2 * (attention_dim + 16) + 2 * pixels * 16 * attention_dim
