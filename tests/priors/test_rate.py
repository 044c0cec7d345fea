"""The rate meter: from arrays it gives what the parts give, to the digit, with an interval over priors."""

from __future__ import annotations

import numpy as np
import pytest
from made_codes import ROW, SMALL, UNEVEN, markov, some_codes

from avq.errors import UsageError
from avq.priors.codes import Codes
from avq.priors.config import PriorConfig
from avq.priors.likelihood import cost
from avq.priors.rate import Rate, protocol, rate
from avq.priors.train import train_prior
from avq.priors.transformer import fresh_prior

TRAIN, VALIDATION, TEST = markov(300, 0), markov(50, 1), markov(100, 2)


def test_a_dump_gives_what_the_run_gave() -> None:
    dump = {"train": [TRAIN], "validation": [VALIDATION.astype("int64")], "test": [TEST.astype("int32")]}
    found = rate({name: [one.reshape(-1, 4, 4) for one in levels] for name, levels in dump.items()}, ROW, config=SMALL)
    for seed in range(3):
        prior = fresh_prior(ROW, SMALL, seed)
        rows = train_prior(prior, Codes(TRAIN), Codes(VALIDATION), seed).rows
        assert found.priors[seed] == cost(prior, Codes(TEST)).bits_per_image
        assert seed or [row["loss"] for row in rows] == [row["loss"] for row in found.curve]
    assert (found.nominal, found.tokens) == (32, 16)
    assert found.unigram < 32
    assert found.protocol == "rate.1:prior=gpt2-32x2x2;steps=12;batch=64;lr=0.002"
    assert protocol(PriorConfig()) != found.protocol


def test_levels_and_held_out_images() -> None:
    codes = {name: some_codes(UNEVEN, count) for name, count in (("train", 90), ("test", 9))}
    splits = {name: [level.numpy() for level in UNEVEN.unflatten(one)] for name, one in codes.items()}
    found = rate(splits, UNEVEN, seeds=(4,), config=SMALL)
    assert found.interval() is None
    assert found.bits == pytest.approx(UNEVEN.nominal_bits(), rel=0.05)
    splits["test"][0] = splits["test"][0] + 9
    with pytest.raises(UsageError, match="test codes: level 1 has codes from 9 to"):
        rate(splits, UNEVEN)
    with pytest.raises(UsageError, match="5 images to train on and 100 for test are too few"):
        rate({"train": [TRAIN[:5].reshape(-1, 4, 4)], "test": [TEST.reshape(-1, 4, 4)]}, ROW)


def test_the_interval_is_students() -> None:
    low, high = Rate((1.0, 2.0, 3.0), 4, 5, 16, [], "").interval() or (np.nan, np.nan)
    assert (low + high) / 2 == pytest.approx(2)
    assert high - low == pytest.approx(2 * 4.302653 / 3**0.5)
