"""Whether samples repeat training images: nearest neighbours in the training set, of samples and of test images.

The three-sample test of Meehan et al. 2020 (arXiv 2004.05675): samples that lie nearer to the training set than other
images of the same distribution do were copied from it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

_AT_ONCE = 2**26  # comparisons


class Memorisation(NamedTuple):
    """Distances to the nearest training image.

    Attributes:
        samples: of each sample, `[N]`.
        tests: of each test image, `[M]`.
        statistic: the rank-sum statistic of samples against test images in standard deviations (C_T of the paper):
            around 0 where both lie alike, far below where samples are nearer.
        copied: the share of samples that are nearer than 99 % of test images are.
    """

    samples: NDArray[np.float64]
    tests: NDArray[np.float64]
    statistic: float
    copied: float

    @property
    def found(self) -> bool:
        """Whether the samples are nearer by five standard deviations, or a tenth of them is copied."""
        return self.statistic < -5 or self.copied > 0.1


def in_codes(samples: NDArray[Any], tests: NDArray[Any], train: NDArray[Any]) -> Memorisation:
    """Of sequences of codes `[N, T]`, by the share of tokens that differ (Hamming distance, 0 to 1)."""
    return _compare(*(_nearest_codes(part, train) for part in (samples, tests)))


def in_features(samples: NDArray[Any], tests: NDArray[Any], train: NDArray[Any]) -> Memorisation:
    """Of features `[N, D]`, by Euclidean distance."""
    return _compare(*(_nearest_features(part, train) for part in (samples, tests)))


def _compare(samples: NDArray[np.float64], tests: NDArray[np.float64]) -> Memorisation:
    found = stats.mannwhitneyu(samples, tests, method="asymptotic", use_continuity=False)
    spread = np.std(stats.rankdata(np.concatenate([samples, tests])), ddof=1)  # which ties make smaller
    n, m = len(samples), len(tests)
    statistic = (found.statistic - n * m / 2) / (spread * np.sqrt(n * m / (n + m))) if spread else 0.0
    return Memorisation(samples, tests, float(statistic), float((samples < np.quantile(tests, 0.01)).mean()))


def _nearest_codes(queries: NDArray[Any], train: NDArray[Any]) -> NDArray[np.float64]:
    rows = max(1, _AT_ONCE // train.shape[1])
    nearest: NDArray[np.int64] = np.full(len(queries), train.shape[1])
    for start in range(0, len(train), rows):
        part = np.asarray(train[start : start + rows])
        found = [np.count_nonzero(part != query, axis=1).min() for query in queries.astype(train.dtype)]
        nearest = np.minimum(nearest, found)
    return np.asarray(nearest / train.shape[1])


def _nearest_features(queries: NDArray[Any], train: NDArray[Any]) -> NDArray[np.float64]:
    every = torch.from_numpy(np.asarray(train, np.float32))
    parts = torch.split(torch.from_numpy(np.asarray(queries, np.float32)), max(1, _AT_ONCE // len(every)))
    nearest: NDArray[np.float64] = torch.cat([torch.cdist(part, every).amin(1) for part in parts]).double().numpy()
    return nearest
