"""What residual attention does, per level: how much it adds, how far it looks, and how evenly."""

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

GAIN, DISTANCE, ENTROPY = ATTENTION = ("attention-gain", "attention-distance", "attention-entropy")


class AttentionMetric(MetricObject):
    """`attention-gain`, `attention-distance` or `attention-entropy` per level: a number an image, mean over images.

    The gain is |W x| / |x|; the others are those of `row_spread`, mean over all pixels of an image.

    Takes `extras["attention_gain"]` and so on, float `[B, levels]`, bottom level first, NaN where an image was
    not looked at, or a level has no attention; a model without attention gives none.

    Args:
        name: one of `ATTENTION`.
        levels: number of latent levels.
    """

    def __init__(self, name: str, levels: int) -> None:
        self.name, self.levels = name, levels
        self.reset()

    def reset(self) -> None:
        self._batches: list[FloatArray] = []

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        values = extras.get(self.name.replace("-", "_"))
        if values is None:
            return
        if values.shape != (len(reference), self.levels):
            raise AvqError(f"{self.name}: expected [B, {self.levels}], got {list(values.shape)}")
        self._batches.append(values.detach().to("cpu", torch.float64).numpy())

    def merge(self, other: Self) -> None:
        self._batches.extend(other._batches)

    def compute(self) -> list[Measurement]:
        batches = self._batches or [np.zeros((0, self.levels))]
        return [self._row(index + 1, column) for index, column in enumerate(np.concatenate(batches).T)]

    def _row(self, level: int, column: FloatArray) -> Measurement:
        values = column[~np.isnan(column)]
        n = int(values.size)
        rows = {} if self.name == GAIN else {"rows": "normalised"}
        if not n:
            protocol = protocol_id(self.name, **rows, mean="images")
            return unavailable(self.name, "no attention between pixels at this level", level=level, protocol=protocol)
        # Distance and entropy are of the first images alone, so the id says of how many
        protocol = protocol_id(self.name, **rows, mean=f"{n}-images" if rows else "images")
        mean, sigma = mean_and_sigma(values)
        stderr = None if math.isnan(sigma) else sigma / math.sqrt(n)
        return measured(self.name, mean, level=level, stderr=stderr, n=n, protocol=protocol)


def row_spread(log_weights: Tensor, rows: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How far and how evenly pixels look.

    Rows are normalised first, P_i = W_i / sum_j W_ij, so that the sigmoid kinds, whose rows sum to anything, can be
    compared with softmax. The distance of pixel i is sum_j P_ij |i - j| (after the mean attention distance of arXiv
    2010.11929, appendix D.7), as a share of the latent's longer side; the entropy is -sum_j P_ij ln P_ij, as a share
    of its maximum ln N. As shares, levels and image sizes can be read side by side: uniform attention has a distance
    of about 0.52 over any square latent, and an entropy of 1.

    Args:
        log_weights: log W_ij of the pixels i, `[..., R, N]`.
        rows: those pixels, int64 `[R]`, row by row of the latent.
        size: height and width of the latent, in pixels; N is their product.

    Returns:
        Distance and entropy, both `[..., R]`; NaN where the latent is one pixel.
    """
    height, width = size
    if height * width == 1:
        nothing = torch.full(log_weights.shape[:-1], math.nan, device=log_weights.device)
        return nothing, nothing
    log_shares = torch.log_softmax(log_weights, dim=-1)
    shares = log_shares.exp()
    places = torch.arange(height * width, device=rows.device)
    down, across = places // width, places % width
    apart = torch.hypot((down[rows, None] - down).to(shares.dtype), (across[rows, None] - across).to(shares.dtype))
    distance = torch.einsum("...rn,rn->...r", shares, apart) / max(size)
    entropy = torch.special.entr(shares).sum(-1) / math.log(height * width)
    return distance, entropy
