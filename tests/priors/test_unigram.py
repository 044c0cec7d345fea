"""The unigram frequencies in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_codes import ROW, UNEVEN, markov, some_codes

from avq.priors import unigram
from avq.priors.codes import Codes
from avq.priors.likelihood import code_lengths
from avq.priors.sample import sample
from avq.priors.unigram import Unigram


def test_frequencies_have_their_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "_AT_ONCE", 100)  # in several parts
    train, test = some_codes(UNEVEN, 50).numpy(), some_codes(UNEVEN, 5, seed=1).numpy()
    found = code_lengths(Unigram(UNEVEN).fit(train.astype(np.uint8)), Codes(test))
    for place, size in enumerate(UNEVEN.codebook_sizes().tolist()):
        counts = (train[:, place, None] == test[:, place]).sum(0)
        assert found[:, place] == pytest.approx(-np.log2((counts + 0.5) / (50 + 0.5 * size)), rel=1e-6)


def test_samples_have_the_frequencies_of_each_place() -> None:
    train = markov(2000, 0)
    drawn = sample(Unigram(ROW).fit(train), 2000, 3).numpy()
    for place in (0, 7, 15):
        p = np.bincount(train[:, place], minlength=4) / 2000
        assert np.bincount(drawn[:, place], minlength=4) / 2000 == pytest.approx(p, abs=0.05)
    assert torch.equal(sample(Unigram(UNEVEN), 3), sample(Unigram(UNEVEN), 3))
