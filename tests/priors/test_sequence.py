"""Codes become one sequence in the order that is said, and come back."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from made_codes import UNEVEN, some_codes

from avq.errors import UsageError
from avq.priors.sequence import Grid, Layout, layout_from, layout_of


def test_the_top_level_comes_first_then_rows_columns_and_depth() -> None:
    assert UNEVEN.length == 4 + 8
    assert UNEVEN.places().tolist() == [
        [1, 0, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 1],
        [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0],
        [0, 2, 0, 0], [0, 2, 1, 0], [0, 3, 0, 0], [0, 3, 1, 0],
    ]  # fmt: skip
    assert UNEVEN.codebook_sizes().tolist() == [5] * 4 + [16] * 8
    assert UNEVEN.nominal_bits() == pytest.approx(4 * torch.tensor(5.0).log2().item() + 8 * 4)
    sequence = torch.arange(12)[None] % 5
    bottom, middle, top = UNEVEN.unflatten(sequence)
    assert middle[0].tolist() == [[[0, 1]], [[2, 3]]]
    assert bottom[0].flatten().tolist() == sequence[0, 4:].tolist()
    assert top.tolist() == [[[0]]]  # the decoder does not see it


def test_sequences_come_back() -> None:
    sequences = some_codes(UNEVEN, 7)
    codes = UNEVEN.unflatten(sequences)
    assert torch.equal(UNEVEN.flatten(codes), sequences)
    assert layout_of(codes, [16, 5, 300], [1, 2]) == UNEVEN
    assert layout_from(json.loads(json.dumps(asdict(UNEVEN)))) == UNEVEN


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([torch.zeros(2, 2, 2)], "float32"),
        ([torch.zeros(2, 2, 3, dtype=torch.long)], "codes \\[2, 2, 3\\]"),
        ([torch.full((2, 2, 2), 9)], "from 9 to 9, but K is 9"),
        ([], "0 levels, where there are 1"),
    ],
)
def test_codes_that_do_not_fit_are_named(codes: list[torch.Tensor], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Layout((Grid((2, 2), 9),), (1,)).flatten(codes)


@pytest.mark.parametrize(("grid", "levels"), [(Grid((4,), 9), (1,)), (Grid((2, 2), 1), (1,)), (Grid((2, 2), 9), (2,))])
def test_layouts_that_cannot_be_are_refused(grid: Grid, levels: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        Layout((grid,), levels)
