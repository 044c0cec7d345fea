"""What residual attention does, per level: how much it adds, how far it reaches, and how evenly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from avq.errors import AvqError
from avq.metrics.base import MetricObject, mean_over_images
from avq.metrics.measurement import Measurement, protocol_id
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.base import FloatArray
    from avq.metrics.subject import Subject

register_metric(
    Metric("attention-gain", title="|W x| / |x|, mean over images", label="attention gain", format=".3g", of="model",
           place=80, measured_by="avq.metrics.attention:AttentionMetric"),
    Metric("attention-distance", title="how far away a pixel attends (uniform attention: about 0.52)",
           label="attention distance", unit="side", format=".3f", of="model", place=80, shown=False,
           measured_by="avq.metrics.attention:AttentionMetric"),
    Metric("attention-entropy", title="entropy of where a pixel attends (uniform attention: 1)",
           label="attention entropy", unit="ln N", format=".3f", of="model", place=80, shown=False,
           measured_by="avq.metrics.attention:AttentionMetric"),
)  # fmt: skip

GAIN, DISTANCE, ENTROPY = ATTENTION = ("attention-gain", "attention-distance", "attention-entropy")


class AttentionMetric(MetricObject):
    """`attention-gain`, `attention-distance` and `attention-entropy` per level: one number per image, and their mean.

    The gain is |W x| / |x|; the others are those of `row_spread`, mean over all pixels of an image. `update` takes them
    as `extras["attention_gain"]` and so on, float `[B, levels]`, bottom level first, NaN where an image was not
    measured or a level has no attention.
    """

    name = "attention"

    def __init__(self, subject: Subject) -> None:
        self.levels = len(subject.codebook_sizes)
        self._batches: dict[str, list[FloatArray]] = {name: [] for name in ATTENTION}

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        for name, batches in self._batches.items():
            values = extras.get(name.replace("-", "_"))
            if values is None:
                continue
            self.levels = self.levels or values.shape[1]  # a model without codes has levels all the same
            if values.shape != (len(reference), self.levels):
                raise AvqError(f"{name}: expected [B, {self.levels}], got {list(values.shape)}")
            batches.append(values.detach().cpu().double().numpy())

    def compute(self) -> list[Measurement]:
        import numpy as np

        return [
            _row(name, level, column)
            for name, batches in self._batches.items()
            for level, column in enumerate(np.concatenate(batches or [np.zeros((0, self.levels))]).T, start=1)
        ]


def _row(name: str, level: int, column: FloatArray) -> Measurement:
    import numpy as np

    n = int(np.count_nonzero(~np.isnan(column)))
    # Distance and entropy are of normalised rows and of the first images only: the id says of how many.
    rows = {} if name == GAIN else {"rows": "normalised"}
    protocol = protocol_id(name, **rows, mean=f"{n}-images" if n and rows else "images")
    return mean_over_images(name, column, protocol, "no attention between pixels at this level", level)


def row_spread(log_weights: Tensor, rows: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How far and how evenly pixels attend.

    Rows are normalised first, P_i = W_i / sum_j W_ij: those of the sigmoid kinds do not sum to 1. The distance of pixel
    i is sum_j P_ij |i - j| (after the mean attention distance of arXiv 2010.11929, appendix D.7), as a share of the
    latent's longer side; the entropy is -sum_j P_ij ln P_ij, as a share of its maximum ln N. So levels and image sizes
    compare: uniform attention has a distance of about 0.52 over a square latent, and an entropy of 1.

    Args:
        log_weights: log W_ij of the pixels i, `[..., R, N]`.
        rows: those pixels, int64 `[R]`, row by row of the latent.
        size: height and width of the latent, in pixels; N is their product.

    Returns:
        Distance and entropy, both `[..., R]`; NaN where the latent is one pixel.
    """
    import torch

    height, width = size
    if height * width == 1:
        undefined = torch.full(log_weights.shape[:-1], math.nan, device=log_weights.device)
        return undefined, undefined
    log_shares = torch.log_softmax(log_weights, dim=-1)
    shares = log_shares.exp()
    places = torch.arange(height * width, device=rows.device)
    down, across = places // width, places % width
    apart = torch.hypot((down[rows, None] - down).to(shares.dtype), (across[rows, None] - across).to(shares.dtype))
    distance = torch.einsum("...rn,rn->...r", shares, apart) / max(size)
    entropy = torch.special.entr(shares).sum(-1) / math.log(height * width)
    return distance, entropy
