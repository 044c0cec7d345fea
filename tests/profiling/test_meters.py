"""Costs against counts made by hand."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from avq.errors import AvqError
from avq.models.attention import ResidualPixelAttention
from avq.profiling.meters import (
    LARGEST_INPUT,
    images_per_second,
    macs,
    parameter_counts,
    positive_copy,
    receptive_field,
)


class Trunk(nn.Module):
    """Two stride-2 convolutions and a third on top, with a normalisation and a dead path between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 3, 2, 1)
        self.third = nn.Conv2d(8, 8, 3, 1, 1)
        nn.init.zeros_(self.third.weight)

    def trunk(self, images: Tensor) -> list[Tensor]:
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


def test_receptive_fields_by_the_formula() -> None:
    """r = 1 + sum of (kernel - 1) x stride before: 4; 4 + 2 * 2 = 8; 8 + 2 * 4 = 16, dead weights or not."""
    assert receptive_field(positive_copy(Trunk()).trunk, 16) == [8, 16]


def test_a_field_larger_than_the_image_is_still_measured() -> None:
    assert receptive_field(positive_copy(Trunk()).trunk, 4) == [8, 16]


def test_a_global_field_is_answered_with_the_largest_input() -> None:
    def everywhere(images: Tensor) -> list[Tensor]:
        return [images + images.mean(dim=(2, 3), keepdim=True)]

    assert receptive_field(everywhere, LARGEST_INPUT // 2) == [LARGEST_INPUT]


def test_a_trunk_without_levels_has_no_fields() -> None:
    assert receptive_field(lambda images: [], 32) == []


def test_the_original_is_left_alone() -> None:
    module = Trunk()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    positive_copy(module)
    assert module.first[0].weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_throughput_is_the_median() -> None:
    naps = iter([0, 0, 0.01, 0.01, 0.2])
    speed = images_per_second(lambda: time.sleep(next(naps)), batch=10, repeats=3, warmup=2)
    assert 500 < speed.median < 1001
    assert speed.spread > 0
    assert speed.repeats == 3
    row = speed.measurement("train-images-per-s", batch=10, threads=1)
    assert row.protocol == "train-images-per-s.1:batch=10;threads=1;repeats=3"
    assert row.unit == "images/s"


def test_one_repeat_has_no_spread() -> None:
    with pytest.raises(AvqError, match="two repeats"):
        images_per_second(lambda: None, batch=1, repeats=1)


@pytest.mark.parametrize("similarity", ["sigmoid", "softmax"])
@pytest.mark.parametrize("filters", [8, 16])
def test_attention_costs_the_same_either_way(similarity: str, filters: int) -> None:
    """N x N x (c + C) and the two convolutions, also where torch's own counter does not know the fused kernel."""
    layer, x = ResidualPixelAttention(16, filters, similarity=similarity), torch.zeros(1, 16, 24, 24)
    found = {}
    for implementation in ("dense", "linear"):
        layer.implementation = implementation
        found[implementation] = macs(lambda: layer(x))
    pixels = 24 * 24
    assert found["dense"] == found["linear"] == pixels**2 * (filters + 16) + 2 * pixels * 16 * filters
