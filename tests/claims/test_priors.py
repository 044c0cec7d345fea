"""Likelihoods and samples against sources whose entropy is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_codes import CHAIN, ROW, SMALL, markov, markov_bits, markov_prior, some_codes
from scipy import stats

from avq.priors.codes import Codes
from avq.priors.likelihood import cost
from avq.priors.memorisation import in_codes
from avq.priors.sample import sample
from avq.priors.sequence import Grid, Layout
from avq.priors.train import train_prior
from avq.priors.transformer import fresh_prior
from avq.priors.unigram import Unigram


def test_uniform_codes_cost_log2_k() -> None:
    layout = Layout((Grid((4, 4), 16),), (1,))
    train, validation, test = (Codes(some_codes(layout, count, count).numpy()) for count in (4000, 500, 2000))
    prior = fresh_prior(layout, replace(SMALL, prior_steps=60), 0)
    train_prior(prior, train, validation, 0)
    assert 4 <= cost(prior, test).bits_per_token < 4.02
    assert cost(Unigram(layout).fit(train.sequences), test).bits_per_token == pytest.approx(4, abs=0.02)


def test_a_markov_source_costs_its_entropy_and_no_less() -> None:
    prior = fresh_prior(ROW, replace(SMALL, prior_layers=1, prior_steps=400), 0)
    train_prior(prior, Codes(markov(20_000, 0)), Codes(markov(1000, 1)), 0)
    test = markov(4000, 2)
    found, entropy = cost(prior, Codes(test)), markov_bits(test)
    assert found.bits_per_image == pytest.approx(entropy.sum(1).mean(), rel=0.02)
    excess = found.per_image - entropy.sum(1)
    assert excess.mean() > -3 * excess.std() / len(excess) ** 0.5
    assert found.per_place == pytest.approx(entropy.mean(0), abs=0.06)
    unigram = cost(Unigram(ROW).fit(markov(20_000, 0)), Codes(test))
    assert found.bits_per_image < 0.85 * unigram.bits_per_image < ROW.nominal_bits()


def test_the_cost_under_the_source_itself_is_its_entropy() -> None:
    test = markov(500, 3)
    assert cost(markov_prior(), Codes(test)).per_image == pytest.approx(markov_bits(test).sum(1), rel=1e-5)


def test_samples_follow_the_chain() -> None:
    drawn = sample(markov_prior(), 4000, 5).numpy()
    assert stats.chisquare(np.bincount(drawn[:, 0], minlength=4)).pvalue > 0.001
    for code in range(4):
        following = drawn[:, 1:][drawn[:, :-1] == code]
        assert stats.chisquare(np.bincount(following, minlength=4), len(following) * CHAIN[code]).pvalue > 0.001


def test_classes_change_samples() -> None:
    layout, rng = Layout((Grid((2, 2), 8),), (1,)), np.random.default_rng(0)
    labels = rng.integers(2, size=1000)
    train = Codes(rng.integers(4, size=(1000, 4)) + 4 * labels[:, None], labels)
    prior = fresh_prior(layout, replace(SMALL, prior_steps=120), 0, classes=2)
    train_prior(prior, train, Codes(train.sequences[:100], labels[:100]), 0)
    low, high = (sample(prior, 200, 0, labels=torch.full((200,), label)) for label in (0, 1))
    assert (low < 4).float().mean() > 0.95
    assert (high >= 4).float().mean() > 0.95
    with pytest.raises(ValueError, match="a prior of 2 classes needs labels"):
        cost(prior, Codes(train.sequences))


def test_memorisation_fires_on_replayed_training_codes_alone() -> None:
    layout = Layout((Grid((4, 4), 8),), (1,))
    train, test, other = (some_codes(layout, count, count).numpy() for count in (3000, 400, 401))
    honest = in_codes(other, test, train)
    assert not honest.found
    assert abs(honest.statistic) < 3
    replayed = train[:401].copy()
    assert in_codes(replayed, test, train).copied == 1
    replayed[:, ::8] = other[:, ::8]  # all but two tokens
    assert in_codes(replayed, test, train).found
    few = np.concatenate([other[:320], train[:80]])  # a fifth of the samples
    assert in_codes(few, test, train).found
