"""Two pieces of work timed in turns, so that whatever else the machine does hits both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Work = Callable[[], object]
_RESAMPLES = 2000


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
    """Time both once a round, the order changing from round to round, after a round that does not count."""
    seconds = np.array([_round(ours, peer, number % 2 == 1) for number in range(rounds + 1)][1:])
    return ratio_of(seconds[:, 0], seconds[:, 1])


def ratio_of(ours: np.ndarray, peer: np.ndarray) -> Ratio:
    """The ratio from each round's seconds, `[rounds]` each."""
    ratios = peer / ours
    drawn = np.random.default_rng(0).choice(ratios, (_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    median = float(np.median(ratios))
    return Ratio(median, float(low), float(high), float(np.median(ours)), float(np.median(peer)), len(ratios))


def _round(ours: Work, peer: Work, peer_first: bool) -> tuple[float, float]:
    if peer_first:
        late = seconds_of(peer)
        return seconds_of(ours), late
    return seconds_of(ours), seconds_of(peer)


def seconds_of(work: Work) -> float:
    """Wall-clock seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
