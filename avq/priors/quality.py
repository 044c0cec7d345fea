"""How samples compare with real images, by features of both: distances of distributions, fidelity and diversity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avq.errors import UsageError
from avq.metrics.feature_distances import frechet_distance, kernel_distance

_NEIGHBOURS = 5  # as in 2002.09797
_ROWS = 2**11  # of a matrix of distances


class SampleQuality(NamedTuple):
    """Samples against real images.

    Attributes:
        frechet, kernel: distances of the distributions (`avq.metrics.feature_distances`).
        precision: share of samples within reach of a real image (1904.06991); noise may score above real images, so it
            is shown and not judged.
        recall: share of real images within reach of a sample.
        density: real images within whose reach a sample lies, over the five that define reach (2002.09797, eq. 2).
        coverage: share of real images that have a sample within their reach (eq. 3).
        n: images on each side.
    """

    frechet: float
    kernel: float
    precision: float
    recall: float
    density: float
    coverage: float
    n: int


def sample_quality(real: NDArray[np.floating], samples: NDArray[np.floating]) -> SampleQuality:
    """Of features `[N, D]` of both, as many of each: all six depend on N. UsageError where N differs or is below 6.

    An image's reach is the distance to its fifth nearest neighbour on its own side.
    """
    n = len(real)
    if n != len(samples) or n <= _NEIGHBOURS:
        raise UsageError(f"{n} real images and {len(samples)} samples: as many of each are needed, 6 at least.")
    one, two = (torch.from_numpy(np.asarray(part, np.float64)) for part in (real, samples))
    reach, reach_samples = _reach(one), _reach(two)
    recalled = torch.zeros(n, dtype=torch.bool)
    nearest, near = torch.full((n,), torch.inf, dtype=torch.float64), torch.zeros(n)
    for start in range(0, n, _ROWS):  # of samples
        part = slice(start, start + _ROWS)
        distances = torch.cdist(two[part], one)
        near[part] = (distances < reach).sum(1).float()
        recalled |= (distances < reach_samples[part, None]).any(0)
        nearest = torch.minimum(nearest, distances.amin(0))
    return SampleQuality(
        frechet_distance(real, samples),
        kernel_distance(real, samples),
        precision=float((near > 0).float().mean()),
        recall=float(recalled.float().mean()),
        density=float(near.mean()) / _NEIGHBOURS,
        coverage=float((nearest < reach).float().mean()),
        n=n,
    )


def _reach(features: torch.Tensor) -> torch.Tensor:
    """The distance of each to its fifth nearest neighbour, itself left out."""
    parts = torch.split(features, _ROWS)
    return torch.cat([torch.cdist(part, features).kthvalue(_NEIGHBOURS + 1).values for part in parts])
