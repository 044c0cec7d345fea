"""Distances between the features of two sets of images: Fréchet (FID) and kernel (KID), by torch-fidelity.

Features, then statistics in float64, then the metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_poly, mmd2

from avq.metrics.base import MetricObject, unit_images
from avq.metrics.features import INCEPTION, SQUEEZENET, Extractor
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.metrics.reference import Features, alone, feature_file, load_features, save_features
from avq.metrics.subject import Subject

NAMES = {
    INCEPTION: ("rfid", "rkid", "rkid-unpaired"),
    SQUEEZENET: ("fd-squeezenet", "kd-squeezenet", "kd-squeezenet-unpaired"),
}
_SUBSETS, _SUBSET_SIZE, _SEED = 100, 1000, 2020  # torch-fidelity's own
_TILE = 512  # rows of K at once
_Vectors = NDArray[np.float64]


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of features `[N, D]`, all in float64 (arXiv 1706.08500)."""
    one, two = (fid_features_to_statistics(torch.from_numpy(part.astype(np.float64))) for part in (first, second))
    return float(fid_statistics_to_metric(one, two, verbose=False)[KEY_METRIC_FID])


def kernel_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Squared MMD with the kernel (x.y / D + 1)^3, mean over subsets of each set (arXiv 1801.01401).

    Unbiased for sets that are independent. Of n images x and their own reconstructions y it is too low, by
    2 (E k(x, y) - E k(x, y')) / n on average, y' being another image's: see `unpaired_kernel_distance`.
    """
    subsets, size = kernel_subsets(min(len(first), len(second)))
    x, y = (part.astype(np.float64) for part in (first, second))
    random, of_x, of_y = np.random.RandomState(_SEED), np.zeros((len(x), subsets)), np.zeros((len(y), subsets))
    for subset in range(subsets):  # as torch-fidelity draws them
        for indicators in (of_x, of_y):
            indicators[random.choice(len(indicators), size, replace=False), subset] = 1
    within = _sums(x, x, of_x, of_x) - _own(x) @ of_x + _sums(y, y, of_y, of_y) - _own(y) @ of_y
    return float(np.mean(within / (size * (size - 1)) - 2 * _sums(x, y, of_x, of_y) / size**2))


def _sums(x: _Vectors, y: _Vectors, of_x: _Vectors, of_y: _Vectors) -> _Vectors:
    """The sum of k over the pairs of every subset, s^T K s with its indicators `[N, subsets]`; K is made in tiles."""
    tiles = range(0, len(x), _TILE)
    sums = [((kernel_poly(x[at : at + _TILE], y) @ of_y) * of_x[at : at + _TILE]).sum(0) for at in tiles]
    return np.asarray(np.sum(sums, axis=0))


def _own(x: _Vectors) -> _Vectors:
    """k of each vector with itself."""
    return np.asarray(((x * x).sum(1) / x.shape[1] + 1) ** 3)


def unpaired_kernel_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """The same of paired sets `[N, D]`, unbiased: no k(x, y) of a pair (the U-statistic of Gretton et al., JMLR 2012).

    Its expectation is that of an estimate from disjoint halves, x of one and y of the other, with less variance; of
    identical sets it is 0. The mean over disjoint parts of 1,000 pairs or more.
    """
    distances = []
    for part in np.array_split(np.random.RandomState(_SEED).permutation(len(first)), disjoint_parts(len(first))):
        x, y = (features[part].astype(np.float64) for features in (first, second))
        distances.append(mmd2(kernel_poly(x, x), kernel_poly(x, y), kernel_poly(y, y), mmd_est="u-statistic"))
    return float(np.mean(distances))


def disjoint_parts(images: int) -> int:
    """In how many parts `unpaired_kernel_distance` takes so many pairs."""
    return max(1, images // _SUBSET_SIZE)


def kernel_subsets(images: int) -> tuple[int, int]:
    """How many subsets, and of how many images: 100 of 1,000, or one of all where there are no more than 1,000."""
    return (_SUBSETS, _SUBSET_SIZE) if images > _SUBSET_SIZE else (1, images)


class FeatureDistances(MetricObject):
    """The Fréchet and the kernel distances between reference images and reconstructions.

    Both are rounded to uint8, as the extractors are defined on bytes. The reference's features come from the cache, or
    `prepare` computes them and stores them there, while other processes that need the same ones wait.

    Args:
        network: what computes the features.
        subject: the reference set, the images' side, and whether fewer images than a Fréchet distance needs will do.
    """

    def __init__(self, network: Extractor, subject: Subject) -> None:
        assert subject.reference is not None
        self.name, *self.kernels = NAMES[network.kind.name]
        self.network, self.allow_small = network, subject.allow_small
        self.reference_images = subject.reference.images
        self.conditions = network.conditions(subject.image_size)
        self._file = feature_file(subject.reference.id, self.reference_images, self.conditions)
        self._reference = load_features(self._file, self.reference_images)
        self._rebuilt: list[Features] = []

    def prepare(self, reference: Callable[[], Iterator[Tensor]]) -> None:
        if self._reference is not None:
            return
        with alone(self._file):
            self._reference = load_features(self._file, self.reference_images)  # perhaps another process's by now
            if self._reference is None:
                parts = [self._features(unit_images(batch, batch, self.name)[0]) for batch in reference()]
                self._reference = np.concatenate(parts)
                save_features(self._file, self._reference)

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        self._rebuilt.append(self._features(unit_images(reference, reconstruction, self.name)[1]))

    def _features(self, images: Tensor) -> Features:
        features: Features = self.network((images * 255).round().to(torch.uint8)).numpy()
        return features

    def compute(self) -> list[Measurement]:
        images, kind = sum(map(len, self._rebuilt)), self.network.kind
        subsets, size = kernel_subsets(images)
        frechet = protocol_id(self.name, **self.conditions)
        parts = (f"{subsets}x{size}", f"{disjoint_parts(images)}-disjoint")
        kernels = [
            (name, protocol_id(name, **self.conditions, kernel="poly3", subsets=part))
            for name, part in zip(self.kernels, parts, strict=True)
        ]
        if images != self.reference_images or images < 2:
            reason = f"saw {images:,} of the reference's {self.reference_images:,} images; needs all, and two at least"
            return [unavailable(name, reason, protocol=protocol) for name, protocol in [(self.name, frechet), *kernels]]
        assert self._reference is not None  # `prepare` comes first
        rebuilt = np.concatenate(self._rebuilt)
        rows = [
            measured(name, distance(self._reference, rebuilt), n=images, protocol=protocol)
            for (name, protocol), distance in zip(kernels, (kernel_distance, unpaired_kernel_distance), strict=True)
        ]
        few = f"{images:,} images are too few for a Fréchet distance over {kind.name} (at least {kind.least:,})"
        if images < kind.least and not self.allow_small:
            reason = f"{few}: read {self.kernels[0]}, or accept the number with --allow-small"
            return [unavailable(self.name, reason, protocol=frechet), *rows]
        advised = f"{kind.advised:,} images are advised, not {images:,}" if images < kind.advised else ""
        note = f"--allow-small: {few}" if images < kind.least else advised
        distance = frechet_distance(self._reference, rebuilt)
        return [measured(self.name, distance, n=images, protocol=frechet, reason=note), *rows]
