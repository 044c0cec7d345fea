"""The relative gain of residual attention, measured wherever attention is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from avq.errors import AvqError
from avq.metrics.base import FloatArray, MetricObject, mean_and_sigma
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable


class AttentionGain(MetricObject):
    """`attention-gain` per level: |W x| / |x| of each image, mean over images.

    Takes `extras["attention_gain"]`, float `[B, levels]`, bottom level first, NaN where a level has no
    attention; a model without attention gives none.

    Args:
        levels: number of latent levels.
    """

    name = "attention-gain"

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.reset()

    def reset(self) -> None:
        self._batches: list[FloatArray] = []

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        if "attention_gain" not in extras:
            return
        gain = extras["attention_gain"].detach().to("cpu", torch.float64)
        if gain.shape != (len(reference), self.levels):
            raise AvqError(f"attention-gain: expected [B, {self.levels}], got {list(gain.shape)}")
        self._batches.append(gain.numpy())

    def merge(self, other: Self) -> None:
        self._batches.extend(other._batches)

    def compute(self) -> list[Measurement]:
        protocol = protocol_id(self.name, mean="images")
        gains = np.concatenate(self._batches) if self._batches else np.zeros((0, self.levels))
        rows = []
        for index in range(self.levels):
            values = gains[~np.isnan(gains[:, index]), index]
            if not values.size:
                rows.append(unavailable(self.name, "no attention at this level", level=index + 1, protocol=protocol))
                continue
            mean, sigma = mean_and_sigma(values)
            stderr = None if math.isnan(sigma) else sigma / math.sqrt(values.size)
            n = int(values.size)
            rows.append(measured(self.name, mean, level=index + 1, stderr=stderr, n=n, protocol=protocol))
        return rows
