"""Residual pixel attention (arXiv 2309.11641, eq. 1-2), its sibling form, and its parameter-matched control."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pixel_weights(logits: Tensor, similarity: str) -> Tensor:
    """The attention matrix W from logits `[B, N, N]`, by the named similarity.

    `sigmoid` is the paper's: no row sums to one, so W x grows with N. `sigmoid-bias` shifts the logits by
    -log N (arXiv 2409.04431), `sigmoid-mean` divides by N, `softmax` normalises each row; no form scales the
    logits, so that only the similarity differs between them.
    """
    pixels = logits.shape[-1]
    if similarity == "sigmoid":
        return torch.sigmoid(logits)
    if similarity == "sigmoid-bias":
        return torch.sigmoid(logits - math.log(pixels))
    if similarity == "sigmoid-mean":
        return torch.sigmoid(logits) / pixels
    return torch.softmax(logits, dim=-1)


class ResidualPixelAttention(nn.Module):
    """Every pixel of a latent attends to every other, and the result is added to it.

    - literal (the paper): `W_ij = s(g1(x_i) . g2(x_j))`, output `x + W x`; shapes `[B, C, H, W]` in and out.
    - projected (the authors' sibling code, arXiv 2309.13160): with `u = g1(x)` and `y = g2(x)`, output
      `u + s(u y^T) u`; the layer is also the projection to `filters` channels.

    `gated` is softmax times a learned scalar that starts at 0 (SAGAN); `uniform` is W = 1/N, which has no
    g2 and, in the literal form, no parameters: the control that tells attention from a global average.
    """

    def __init__(self, channels: int, filters: int, form: str = "literal", similarity: str = "sigmoid") -> None:
        super().__init__()
        self.form, self.similarity = form, similarity
        self.g1 = nn.Conv2d(channels, filters, 1) if form == "projected" or similarity != "uniform" else None
        self.g2 = nn.Conv2d(channels, filters, 1) if similarity != "uniform" else None
        self.gate = nn.Parameter(torch.zeros(())) if similarity == "gated" else None

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The residual base and the update W x, both float32 `[B, C, H, W]`; their sum is the layer's output.

        Float32 whatever the autocast: the raw sigmoid's update is hundreds of times larger than the
        differences between pixels, which bfloat16 would round away.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._parts(x if x.dtype == torch.float64 else x.float())

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        query = self.g1(x) if self.g1 is not None else x
        base = query if self.form == "projected" else x
        values = base.flatten(2)
        if self.g2 is None:
            return base, values.mean(2)[..., None, None].expand_as(base)
        logits = query.flatten(2).mT @ self.g2(x).flatten(2)
        update = values @ pixel_weights(logits, self.similarity).mT
        if self.gate is not None:
            update = self.gate * update
        return base, update.view_as(base)

    def log_weights(self, x: Tensor, rows: Tensor) -> Tensor:
        """log W_ij of the pixels i = `rows` (int64 `[R]`, row by row of the latent), `[B, R, N]`, without N x N.

        Of `gated` it is the softmax before its gate. Logarithms, since a sigmoid's row may be too small for float32.
        """
        x = x if x.dtype == torch.float64 else x.float()
        pixels = x.shape[2] * x.shape[3]
        with torch.autocast(x.device.type, enabled=False):
            if self.g1 is None or self.g2 is None:
                return x.new_full((len(x), len(rows), pixels), -math.log(pixels))
            logits = self.g1(x).flatten(2)[..., rows].mT @ self.g2(x).flatten(2)
        if self.similarity == "sigmoid":
            return F.logsigmoid(logits)
        if self.similarity == "sigmoid-bias":
            return F.logsigmoid(logits - math.log(pixels))
        if self.similarity == "sigmoid-mean":
            return F.logsigmoid(logits) - math.log(pixels)
        return torch.log_softmax(logits, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        base, update = self.parts(x)
        return base + update


class PixelwiseControl(nn.Module):
    """x + conv1x1(ReLU(conv1x1(x))): the attention's parameters without any mixing between pixels.

    The counts agree exactly where `filters` equals `channels`, else within their difference.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, filters, 1)
        self.outer = nn.Conv2d(filters, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.outer(F.relu(self.inner(x)))
        return out
