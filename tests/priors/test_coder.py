"""Codes to bytes and back: whole, and no longer than the prior says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_codes import ROW, UNEVEN, lively_prior, markov, markov_prior, some_codes

from avq.errors import UsageError
from avq.priors import coder
from avq.priors.coder import compress, decompress
from avq.priors.codes import Codes
from avq.priors.likelihood import cost
from avq.priors.range_coder import BITS, Decoder, Encoder


def test_the_bytes_are_those_of_the_likelihood_and_give_the_codes_back() -> None:
    codes = torch.from_numpy(markov(1000, 8)).long()
    data = compress(markov_prior(), codes)
    bits = cost(markov_prior(), Codes(codes.numpy())).per_image.sum()
    assert 8 * len(data) == pytest.approx(bits, rel=0.005)
    assert torch.equal(decompress(markov_prior(), data), codes)


@pytest.mark.parametrize("count", [0, 1, 70])
def test_levels_depth_and_classes(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coder, "_TOKENS_AT_ONCE", 30 * 12)
    prior, codes = lively_prior(UNEVEN, classes=3), some_codes(UNEVEN, count)
    labels = torch.arange(count) % 3
    data = compress(prior, codes, labels)
    assert torch.equal(decompress(prior, data, labels), codes)
    if count == 70:
        bits = cost(prior, Codes(codes.numpy(), labels.numpy())).per_image.sum()
        assert 8 * (len(data) - 8) == pytest.approx(bits, rel=0.005)
        with pytest.raises(UsageError, match="with another prior, labels or machine"):
            decompress(prior, data, labels.flip(0))


def test_other_bytes_are_refused() -> None:
    data = compress(lively_prior(ROW), some_codes(ROW, 3))
    with pytest.raises(UsageError, match="damaged"):
        decompress(lively_prior(ROW), data[:-4])
    with pytest.raises(UsageError, match="5 bytes are no compressed codes"):
        decompress(lively_prior(ROW), data[:5])


_SIZES = st.lists(st.one_of(st.integers(1, 3), st.integers(1, 2**22)), min_size=2, max_size=5)


@given(st.lists(st.tuples(_SIZES, st.integers(0, 4)), max_size=60))
def test_any_numbers_come_back_from_the_range_coder(drawn: list[tuple[list[int], int]]) -> None:
    encoder, bits = Encoder(), 0.0
    tables = [np.cumsum([0, *sizes, 2**BITS - sum(sizes)]) for sizes, _ in drawn]
    numbers = [at % (len(table) - 1) for table, (_, at) in zip(tables, drawn, strict=True)]
    for table, number in zip(tables, numbers, strict=True):
        encoder.put(int(table[number]), int(table[number + 1]))
        bits += BITS - np.log2(table[number + 1] - table[number])
    data = encoder.finish()
    assert 8 * len(data) <= bits + 17
    decoder = Decoder(data)
    assert [decoder.get(table) for table in tables] == numbers


def test_a_carry_goes_into_the_bytes_given_away() -> None:
    encoder, table = Encoder(), np.array([0, 1, 2**BITS - 1, 2**BITS])
    numbers = [2] * 40 + [1] * 3 + [0] * 5 + [2] * 9
    for number in numbers:
        encoder.put(int(table[number]), int(table[number + 1]))
    decoder = Decoder(encoder.finish())
    assert [decoder.get(table) for _ in numbers] == numbers
