"""Counts against those made by hand."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from avq.profiling.counting import Counts, Rates, count, measure_rates

N, C = 64, 16
MATRIX, VECTORS = 4 * N * N, 4 * N * C


def product() -> torch.Tensor:
    a, b = torch.ones(N, C), torch.ones(C, N)
    return a @ b


@pytest.mark.parametrize("contents", [True, False])
def test_what_is_alive_at_once_is_counted(contents: bool) -> None:
    def call() -> None:
        weights = product().exp()  # the product may go once its exponential is there
        weights.add_(1)  # in place: nothing new
        weights.mT.sum()  # a view, and a number

    with nullcontext() if contents else FakeTensorMode():
        counts = count(call)
    assert counts.peak == 2 * MATRIX
    assert counts.flops == 2 * N * N * C


def test_what_was_there_before_is_not_counted_and_backward_is() -> None:
    weight = torch.ones(N, C, requires_grad=True)
    counts = count(lambda: (weight @ torch.ones(C, N)).sum().backward())
    # The product, its gradient (one expanded number), and the gradient of the weight.
    assert counts.peak < 3 * MATRIX
    assert counts.flops == 2 * (2 * N * N * C)


def test_traffic_is_what_operators_read_and_write() -> None:
    a = torch.ones(N, N)
    counts = count(lambda: a + a[:1])
    assert counts.traffic == 2 * MATRIX + 4 * N
    assert count(lambda: a.mT[3:]).traffic == 0  # views


def test_what_only_receives_a_result_is_not_read() -> None:
    a, b, out = torch.ones(N, C), torch.ones(C, N), torch.empty(N, N)
    counts = count(lambda: torch.mm(a, b, out=out))
    assert counts.traffic == 2 * VECTORS + MATRIX
    assert counts.peak == 0  # it was there before
    assert counts.flops == 2 * N * N * C
    assert count(lambda: torch.addmm(out, a, b, out=out)).traffic == 2 * VECTORS + 2 * MATRIX  # read, and written


def test_products_in_place_and_fused_attention_have_their_flops() -> None:
    a, b, out = torch.ones(N, C), torch.ones(C, N), torch.ones(N, N)
    assert count(lambda: out.addmm_(a, b)).flops == 2 * N * N * C
    q, k, v = (torch.ones(1, 1, N, C) for _ in range(3))
    assert count(lambda: F.scaled_dot_product_attention(q, k, v)).flops == 2 * (2 * N * N * C)


def test_an_optimisers_state_counts_towards_the_peak_but_its_creation_is_no_operation() -> None:
    layer = nn.Linear(N, N, bias=False)
    optimiser = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)

    def call() -> None:
        layer(torch.ones(1, N)).sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    settled = count(call, settle=True)
    assert settled.peak > 2 * MATRIX  # momentum and gradient
    again = count(call)
    assert settled.operations == again.operations


def test_a_matrix_of_16_gib_is_counted_here() -> None:
    with FakeTensorMode():
        assert count(lambda: torch.ones(2**16, C) @ torch.ones(C, 2**16)).peak > 2**34


def test_the_roofline_takes_the_longer_of_both_operator_by_operator() -> None:
    counts = Counts(operations=[(100, 10), (0, 30)])
    assert counts.seconds(Rates(flops=10, traffic=10)) == 10 + 3


def test_rates_are_plausible() -> None:
    rates = measure_rates()
    assert 1e8 < rates.flops < 1e14
    assert 1e8 < rates.traffic < 1e13
