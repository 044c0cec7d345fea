"""Distances between the features of two sets of images: Fréchet (FID) and kernel (KID), by torch-fidelity.

Features, then statistics in float64, then the metric.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from avq.errors import NotComparable
from avq.metrics.base import MetricObject, unit_images
from avq.metrics.features import INCEPTION, SQUEEZENET, Extractor
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.metrics.measures import Subject
from avq.metrics.reference import Features, alone, keep_features, load_features

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
    """How many subsets, and of how many images: 100 of 1,000, or everything once where there are no more."""
    return (_SUBSETS, _SUBSET_SIZE) if images > _SUBSET_SIZE else (1, images)


class FeatureDistances(MetricObject):
    """The Fréchet and the kernel distance between reference images and reconstructions.

    Both cross to uint8, rounded, as the extractors are defined on bytes. The reference's features are looked up by
    its content address, and kept there once all its images have been seen: by `prepare`, for which other processes
    that want the same wait, or by the batches of `update`.

    Args:
        network: what makes the features.
        subject: the images' side, their number and content address, and whether fewer of them than a Fréchet distance
            needs will do.
    """

    def __init__(self, network: Extractor, subject: Subject) -> None:
        assert subject.reference is not None
        self.frechet, self.kernel = NAMES[network.kind.name]
        self.name = self.frechet
        self.network, self.allow_small = network, subject.allow_small
        self.reference_images = subject.reference.images
        self._key = (subject.reference.id, subject.reference.images, network.conditions(subject.image_size))
        self.reset()

    def reset(self) -> None:
        self._known = load_features(*self._key)
        self._reference: list[Features] = []
        self._rebuilt: list[Features] = []

    def prepare(self, reference: Callable[[], Iterator[Tensor]]) -> None:
        if self._known is not None:
            return
        with alone(*self._key):
            self._known = load_features(*self._key)  # another process may have been at it
            if self._known is None:
                parts = [self._features(unit_images(batch, batch, self.name)[0]) for batch in reference()]
                self._known = np.concatenate(parts)
                keep_features(self._known, *self._key)

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        original, rebuilt = unit_images(reference, reconstruction, self.name)
        if self._known is None:
            self._reference.append(self._features(original))
        self._rebuilt.append(self._features(rebuilt))

    def _features(self, images: Tensor) -> Features:
        features: Features = self.network((images * 255).round().to(torch.uint8)).numpy()
        return features

    def merge(self, other: Self) -> None:
        if self._key != other._key:
            raise NotComparable(f"{self.name}: partial states against different references cannot be merged")
        self._known = other._known if self._known is None else self._known
        self._reference.extend(other._reference)
        self._rebuilt.extend(other._rebuilt)

    def compute(self) -> list[Measurement]:
        images, conditions = sum(map(len, self._rebuilt)), self._key[2]
        subsets, size = kernel_subsets(images)
        protocols = (
            protocol_id(self.frechet, **conditions),
            protocol_id(self.kernel, **conditions, kernel="poly3", subsets=f"{subsets}x{size}"),
        )
        if images != self.reference_images or images < 2:
            reason = f"saw {images:,} of the reference's {self.reference_images:,} images; needs all, and two at least"
            pairs = zip((self.frechet, self.kernel), protocols, strict=True)
            return [unavailable(name, reason, protocol=protocol) for name, protocol in pairs]
        reference, rebuilt = self._all_of_reference(), np.concatenate(self._rebuilt)
        kernel = measured(self.kernel, kernel_distance(reference, rebuilt), n=images, protocol=protocols[1])
        return [self._frechet(reference, rebuilt, protocols[0]), kernel]

    def _all_of_reference(self) -> Features:
        if self._known is None:
            self._known = np.concatenate(self._reference)
            self._reference = []
            keep_features(self._known, *self._key)
        return self._known

    def _frechet(self, reference: Features, rebuilt: Features, protocol: str) -> Measurement:
        images, kind = len(rebuilt), self.network.kind
        few = f"{images:,} images are too few for a Fréchet distance over {kind.name} (at least {kind.least:,})"
        if images < kind.least and not self.allow_small:
            reason = f"{few}: read {self.kernel}, or take the number as it is with --allow-small"
            return unavailable(self.frechet, reason, protocol=protocol)
        row = measured(self.frechet, frechet_distance(reference, rebuilt), n=images, protocol=protocol)
        if images < kind.least:
            return dataclasses.replace(row, reason=f"--allow-small: {few}")
        if images < kind.advised:
            return dataclasses.replace(row, reason=f"{kind.advised:,} images are advised, not {images:,}")
        return row
