"""Codebook counts over the split and the two rates, by hand and by closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avq.errors import AvqError, UsageError
from avq.metrics.codebook import CodebookUse, nominal_rate
from avq.metrics.subject import Subject


def blank(n: int, size: int = 32) -> Tensor:
    return torch.zeros(n, 3, size, size)


def values(metric: CodebookUse) -> dict[tuple[str, int | None], float | None]:
    return {(row.metric, row.level): row.value for row in metric.compute()}


def fed(codes: list[Tensor], codebook_sizes: list[int], decoder_levels: list[int]) -> CodebookUse:
    metric = CodebookUse(Subject(codebook_sizes, decoder_levels, 32))
    metric.update(blank(len(codes[0])), blank(len(codes[0])), codes)
    return metric


@pytest.mark.parametrize(("codes", "active"), [(torch.arange(64).view(1, 8, 8), 64), (torch.full((2, 8, 8), 5), 1)])
def test_codes_used_alike_have_their_number_as_perplexity(codes: Tensor, active: int) -> None:
    row = values(fed([codes], [64], [1]))
    assert row["perplexity", 1] == pytest.approx(active)
    assert row["active-codes", 1] == active
    assert row["dead-codes", 1] == 64 - active
    assert row["codebook-utilization", 1] == pytest.approx(active / 64)
    assert row["bits-per-pixel-entropy", None] == pytest.approx(64 * math.log2(active) / 1024)
    assert row["bits-per-pixel", None] == 64 * 6 / 1024


def test_a_collapsed_codebook_is_named() -> None:
    few, many = torch.zeros(4, 4, 4, dtype=torch.int64), torch.arange(256).view(4, 8, 8)
    rows = fed([many, few], [256, 256], [1]).compute()
    reasons = {(row.metric, row.level): row.reason for row in rows}
    assert reasons["perplexity", 2].startswith("collapsed codebook: level 2 uses 1 of 256 codes; 64 tokens can use")
    assert reasons["perplexity", 1] == ""


@pytest.mark.parametrize(
    ("images", "side", "k", "used", "collapsed"),
    [(1, 8, 4096, 64, False), (6, 16, 65_536, 1536, False), (1, 8, 4096, 2, True), (1, 2, 16, 1, False),
     (1, 8, 64, 1, True), (64, 8, 4096, 64, True)],
)  # fmt: skip
def test_a_codebook_is_judged_by_what_its_tokens_could_use(
    images: int, side: int, k: int, used: int, collapsed: bool
) -> None:
    """`used` codes, all alike, of K, by images x side x side tokens."""
    tokens = images * side**2
    codes = (torch.arange(tokens) % used).view(images, side, side)
    rows = {row.metric: row for row in fed([codes], [k], [1]).compute()}
    assert rows["perplexity"].value == pytest.approx(used)
    assert rows["codebook-utilization"].value == used / k
    few = f"{tokens:,} tokens can use {tokens:,} of {k:,} codes at most" if tokens < k else ""
    for name in ("active-codes", "codebook-utilization", "perplexity"):
        assert ("collapsed codebook" in rows[name].reason) is collapsed
        assert rows[name].reason.endswith(few)
    assert (rows["dead-codes"].value is None) is bool(few)


@pytest.mark.parametrize(("decoder_levels", "bits"), [([1], 0.5), ([1, 2], 0.625), ([2], 0.125)])
def test_bits_per_pixel_by_hand(decoder_levels: list[int], bits: float) -> None:
    """8x8 and 4x4 codes of 256 at 32x32: 64 * 8 / 1024 and 16 * 8 / 1024 (design.md, footguns)."""
    codes = [torch.zeros(1, 8, 8, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.int64)]
    assert values(fed(codes, [256, 256], decoder_levels))["bits-per-pixel", None] == bits


def test_the_nominal_rate_of_an_image_that_is_not_square() -> None:
    assert nominal_rate([40, 10], [256, 16], [1], 40 * 64) == 40 * 8 / 2560
    assert nominal_rate([40, 10], [256, 16], [1, 2], 40 * 64) == (40 * 8 + 10 * 4) / 2560


def test_perplexity_is_over_the_split_and_not_a_mean_over_batches() -> None:
    metric = CodebookUse(Subject([2], [1], 32))
    for code in (0, 1):  # each batch alone has perplexity 1
        metric.update(blank(1), blank(1), [torch.full((1, 8, 8), code)])
    assert values(metric)["perplexity", 1] == pytest.approx(2)


@given(cuts=st.lists(st.integers(1, 8), max_size=4), k=st.integers(2, 40), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_batches_change_no_bit(cuts: list[int], k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = [torch.randint(k, (9, side, side), generator=generator) for side in (4, 2)]
    whole, parts = fed(codes, [k, k], [1, 2]), CodebookUse(Subject([k, k], [1, 2], 32))
    for low, high in pairwise([0, *sorted(set(cuts)), 9]):
        parts.update(blank(high - low), blank(high - low), [level[low:high] for level in codes])
    assert whole.compute() == parts.compute()
    perplexity = values(whole)["perplexity", 1]
    assert perplexity is not None
    assert 1 <= perplexity <= k + 1e-9


def test_the_rate_by_entropy_is_the_entropy() -> None:
    codes = torch.tensor([0, 0, 0, 1]).repeat(16).view(1, 8, 8)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert values(fed([codes], [4], [1]))["bits-per-pixel-entropy", None] == pytest.approx(64 * entropy / 1024)


def test_a_model_without_codes_is_not_available() -> None:
    metric = CodebookUse(Subject([], [], 32))
    metric.update(blank(1), blank(1), [])
    assert {row.status for row in metric.compute()} == {"n/a"}
    assert all("no codes" in row.reason for row in metric.compute())


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ([torch.full((1, 8, 8), 64)], "codes from 64 to 64, but K is 64"),
        ([torch.full((1, 8, 8), -1)], "codes from -1"),
        ([torch.zeros(1, 8, 8)], "integer codes"),
        ([torch.zeros(2, 8, 8, dtype=torch.int64)], r"integer codes \[1, h, w\]"),
        ([], "0 levels, expected 1"),
    ],
)
def test_damaged_codes_are_refused(codes: list[Tensor], says: str) -> None:
    with pytest.raises(AvqError, match=says):
        CodebookUse(Subject([64], [1], 32)).update(blank(1), blank(1), codes)


def test_what_does_not_fit_is_refused() -> None:
    metric = fed([torch.zeros(1, 8, 8, dtype=torch.int64)], [64], [1])
    with pytest.raises(AvqError, match="16 codes per image, before 64"):
        metric.update(blank(1), blank(1), [torch.zeros(1, 4, 4, dtype=torch.int64)])
    with pytest.raises(AvqError, match="made for 32x32"):
        metric.update(blank(1, 64), blank(1, 64), [torch.zeros(1, 8, 8, dtype=torch.int64)])


@pytest.mark.parametrize(
    ("levels", "codebook_sizes"),
    [([1, 2], [64]), ([1, 1], [64]), ([0], [64]), ([], [64]), ([2, 1, 2], [8, 8]), ([1], [])],
)
def test_decoder_levels_are_levels_that_exist_each_once(levels: list[int], codebook_sizes: list[int]) -> None:
    with pytest.raises(UsageError, match="decoder_levels"):
        Subject(codebook_sizes, levels, 32)
