"""Residual pixel attention (arXiv 2309.11641, eq. 1-2), its sibling form, and its parameter-matched control."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.errors import UsageError, unknown
from avq.models.attention_linear import fits_a_tile, linear_attention
from avq.models.levels import Attention

IMPLEMENTATIONS = ("auto", "dense", "linear")
DENSE_PIXELS = 1024
"""Up to so many pixels dense is the faster on a CPU, and its matrix is 4 MiB an image at most."""


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


def resolve_implementation(implementation: str, pixels: int, device: torch.device | str) -> str:
    """What computes attention over an image of N pixels there: "dense" or "linear".

    Args:
        implementation: either of them, or "auto", which picks: dense up to 1,024 pixels, where it is faster, and on
            torch's `meta` device, where it takes no memory and shows the formula's own products; else linear.
        pixels: N, the pixels of a latent.
        device: where it is computed.

    Raises:
        UsageError: an implementation that does not exist.
    """
    if implementation not in IMPLEMENTATIONS:
        raise unknown("attention implementation", implementation, IMPLEMENTATIONS)
    if implementation != "auto":
        return implementation
    return "dense" if pixels <= DENSE_PIXELS or torch.device(device).type == "meta" else "linear"


def attend(queries: Tensor, keys: Tensor, values: Tensor, similarity: str, implementation: str = "auto") -> Tensor:
    """W v `[B, N, C]`, with the weights W = s(q k^T) of `pixel_weights`.

    Float32 whatever the autocast, float64 where all are.

    Args:
        queries: `[B, N, c]`.
        keys: `[B, N, c]`.
        values: `[B, N, C]`.
        similarity: `sigmoid`, `sigmoid-bias`, `sigmoid-mean` or `softmax`.
        implementation: "dense" builds W and keeps it for backward, N x N an image; "linear" gives the same within
            rounding from pieces of W, and keeps the arguments alone. An image whose W is no larger than one piece
            (256 pixels) has it whole in both. "auto" picks (`resolve_implementation`).
    """
    pixels = keys.shape[1]
    picked = resolve_implementation(implementation, pixels, values.device)
    with torch.autocast(values.device.type, enabled=False):
        if any(x.dtype != torch.float64 for x in (queries, keys, values)):
            queries, keys, values = queries.float(), keys.float(), values.float()
        if picked == "dense" or fits_a_tile(pixels):
            return pixel_weights(queries @ keys.mT, similarity) @ values
        return linear_attention(queries, keys, values, similarity)


class ResidualPixelAttention(Attention):
    """Every pixel of a latent attends to every other, and the result is added to it.

    - literal (the paper): `W_ij = s(g1(x_i) . g2(x_j))`, output `x + W x`; shapes `[B, C, H, W]` in and out.
    - projected (the authors' sibling code, arXiv 2309.13160): with `u = g1(x)` and `y = g2(x)`, output
      `u + s(u y^T) u`; the layer is also the projection to `filters` channels.

    `gated` is softmax times a learned scalar that starts at 0 (SAGAN); `uniform` is W = 1/N, which has no
    g2 and, in the literal form, no parameters: the control that tells attention from a global average.

    Attributes:
        implementation: "auto", "dense" or "linear" (`attend`); it changes no value but by rounding, and may be set
            at any time.
        heads: equal groups of channels that attend each by themselves. How the authors' three-head form joins its
            heads is not known; this is the usual way (arXiv 1706.03762), without a projection after it.
    """

    recomputable = True

    def __init__(
        self,
        channels: int,
        filters: int,
        form: str = "literal",
        similarity: str = "sigmoid",
        implementation: str = "auto",
        heads: int = 1,
    ) -> None:
        super().__init__()
        if heads < 1 or filters % heads or (form == "literal" and channels % heads):
            raise UsageError(f"{heads} heads do not divide {channels} channels and {filters} filters evenly.")
        self.form, self.similarity = form, similarity
        self.implementation, self.heads = implementation, heads
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
        if self.g2 is None:
            return base, base.mean((2, 3), keepdim=True).expand_as(base)
        kind = "softmax" if self.similarity == "gated" else self.similarity
        pixels = [self._by_head(maps) for maps in (query, self.g2(x), base)]
        update = attend(pixels[0], pixels[1], pixels[2], kind, self.implementation).mT.reshape(base.shape)
        return base, update if self.gate is None else self.gate * update

    def _by_head(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]` -> `[B * heads, N, C / heads]`."""
        return maps.reshape(len(maps) * self.heads, maps.shape[1] // self.heads, -1).mT

    def log_weights(self, x: Tensor, rows: Tensor) -> Tensor:
        """log W_ij of the pixels i = `rows` (int64 `[R]`, row by row of the latent), `[B, heads, R, N]`, no N x N.

        Of `gated` it is the softmax before its gate. Logarithms, since a sigmoid's row may be too small for float32.
        """
        x = x if x.dtype == torch.float64 else x.float()
        pixels = x.shape[2] * x.shape[3]
        shape = (len(x), self.heads, len(rows), pixels)
        with torch.autocast(x.device.type, enabled=False):
            if self.g1 is None or self.g2 is None:
                return x.new_full(shape, -math.log(pixels))
            logits = (self._by_head(self.g1(x))[:, rows] @ self._by_head(self.g2(x)).mT).view(shape)
        if self.similarity == "sigmoid":
            return F.logsigmoid(logits)
        if self.similarity == "sigmoid-bias":
            return F.logsigmoid(logits - math.log(pixels))
        if self.similarity == "sigmoid-mean":
            return F.logsigmoid(logits) - math.log(pixels)
        return torch.log_softmax(logits, dim=-1)

    def row(self, x: Tensor, pixel: int) -> tuple[Tensor, Tensor]:
        """`parts` of one pixel of one image `[1, C, H, W]`: base and update, each `[C]`; no N x N."""
        maps = self.g1(x) if self.form == "projected" and self.g1 is not None else x
        base = maps[0].flatten(1)
        weights = self.log_weights(x, torch.tensor([pixel], device=x.device))[0, :, 0].exp()
        update = torch.einsum("hcn,hn->hc", base.view(self.heads, -1, base.shape[1]), weights).flatten()
        return base[:, pixel], update if self.gate is None else self.gate * update

    def computed(self, pixels: int, device: torch.device | str) -> str | None:
        """How it is computed: "dense", "linear", or None for `uniform`, which has no logits."""
        return None if self.g2 is None else resolve_implementation(self.implementation, pixels, device)

    def forward(self, x: Tensor) -> Tensor:
        base, update = self.parts(x)
        return base + update


def use_implementation(model: nn.Module, implementation: str) -> None:
    """Set the implementation of every attention layer of a model; UsageError where it does not exist."""
    if implementation not in IMPLEMENTATIONS:
        raise unknown("attention implementation", implementation, IMPLEMENTATIONS)
    for layer in model.modules():
        if isinstance(layer, ResidualPixelAttention):
            layer.implementation = implementation


class PixelwiseControl(nn.Module):
    """x + conv1x1(ReLU(conv1x1(x))): the attention's parameters without any mixing between pixels.

    The counts agree exactly where `filters` equals `channels`, else within their difference.
    """

    recomputable = True

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, filters, 1)
        self.outer = nn.Conv2d(filters, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.outer(F.relu(self.inner(x)))
        return out
