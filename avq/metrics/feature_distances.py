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
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from avq.metrics.base import MetricObject, unit_images
from avq.metrics.features import INCEPTION, SQUEEZENET, Extractor
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.metrics.reference import Features, alone, feature_file, load_features, save_features
from avq.metrics.subject import Subject

NAMES = {INCEPTION: ("rfid", "rkid"), SQUEEZENET: ("fd-squeezenet", "kd-squeezenet")}
_SUBSETS, _SUBSET_SIZE, _SEED = 100, 1000, 2020  # torch-fidelity's own


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of features `[N, D]`, all in float64 (arXiv 1706.08500)."""
    one, two = (fid_features_to_statistics(torch.from_numpy(part.astype(np.float64))) for part in (first, second))
    return float(fid_statistics_to_metric(one, two, verbose=False)[KEY_METRIC_FID])


def kernel_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3, mean over subsets of each set (arXiv 1801.01401)."""
    subsets, size = kernel_subsets(min(len(first), len(second)))
    result = kid_features_to_metric(
        torch.from_numpy(first.astype(np.float64)),
        torch.from_numpy(second.astype(np.float64)),
        kid_subsets=subsets,
        kid_subset_size=size,
        rng_seed=_SEED,
        verbose=False,
    )
    return float(result[KEY_METRIC_KID_MEAN])


def kernel_subsets(images: int) -> tuple[int, int]:
    """How many subsets, and of how many images: 100 of 1,000, or one of all where there are no more than 1,000."""
    return (_SUBSETS, _SUBSET_SIZE) if images > _SUBSET_SIZE else (1, images)


class FeatureDistances(MetricObject):
    """The Fréchet and the kernel distance between reference images and reconstructions.

    Both are rounded to uint8, as the extractors are defined on bytes. The reference's features come from the cache, or
    `prepare` computes them and stores them there, while other processes that need the same ones wait.

    Args:
        network: what computes the features.
        subject: the reference set, the images' side, and whether fewer images than a Fréchet distance needs will do.
    """

    def __init__(self, network: Extractor, subject: Subject) -> None:
        assert subject.reference is not None
        self.name, self.kernel = NAMES[network.kind.name]
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
        kernel = protocol_id(self.kernel, **self.conditions, kernel="poly3", subsets=f"{subsets}x{size}")
        if images != self.reference_images or images < 2:
            reason = f"saw {images:,} of the reference's {self.reference_images:,} images; needs all, and two at least"
            names = ((self.name, frechet), (self.kernel, kernel))
            return [unavailable(name, reason, protocol=protocol) for name, protocol in names]
        assert self._reference is not None  # `prepare` comes first
        rebuilt = np.concatenate(self._rebuilt)
        distance = kernel_distance(self._reference, rebuilt)
        row = measured(self.kernel, distance, n=images, protocol=kernel)
        few = f"{images:,} images are too few for a Fréchet distance over {kind.name} (at least {kind.least:,})"
        if images < kind.least and not self.allow_small:
            reason = f"{few}: read {self.kernel}, or accept the number with --allow-small"
            return [unavailable(self.name, reason, protocol=frechet), row]
        advised = f"{kind.advised:,} images are advised, not {images:,}" if images < kind.advised else ""
        note = f"--allow-small: {few}" if images < kind.least else advised
        distance = frechet_distance(self._reference, rebuilt)
        return [measured(self.name, distance, n=images, protocol=frechet, reason=note), row]
