"""Pieces of work timed in turns, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avq.profiling.memory import seconds_of

Work = Callable[[], object]
_RESAMPLES = 2000
_PAUSE = 0.005


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ours is: the median over rounds of peer / ours, and its 95 % interval (bootstrap).

    Attributes:
        ours, peer: median seconds.
    """

    median: float
    low: float
    high: float
    ours: float
    peer: float
    rounds: int


def interleaved(ours: Work, peer: Work, rounds: int) -> Ratio:
    """Time both once a round."""
    seconds = in_turns([ours, peer], rounds)
    return ratio_of(seconds[:, 0], seconds[:, 1])


def in_turns(works: Sequence[Work], rounds: int) -> NDArray[np.float64]:
    """Seconds of each work in each round, `[rounds, works]`.

    Each round begins with another one; a round that does not count goes before. Between two is a pause, after which
    threads of GNU OpenMP (torch's on Linux) no longer wait in a loop for more work of the one before.
    """
    seconds = np.zeros((rounds + 1, len(works)))
    for number in range(rounds + 1):
        for place in range(len(works)):
            which = (number + place) % len(works)
            time.sleep(_PAUSE)
            seconds[number, which] = seconds_of(works[which])
    return seconds[1:]


def ratio_of(ours: NDArray[np.float64], peer: NDArray[np.float64]) -> Ratio:
    """The ratio from each round's seconds, `[rounds]` each."""
    ratios = peer / ours
    drawn = np.random.default_rng(0).choice(ratios, (_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    median = float(np.median(ratios))
    return Ratio(median, float(low), float(high), float(np.median(ours)), float(np.median(peer)), len(ratios))
