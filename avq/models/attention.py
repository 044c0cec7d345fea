"""Residual pixel attention (arXiv 2309.11641, eq. 1-2), its sibling form, and its parameter-matched control."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.errors import UsageError, unknown
from avq.models.attention_linear import fits_a_tile, linear_attention
from avq.models.full_precision import FullPrecision
from avq.models.tokenizer import Attention

IMPLEMENTATIONS = ("auto", "dense", "linear")
DENSE_PIXELS = 1024
"""Up to this many pixels dense is faster on a CPU, and its matrix takes at most 4 MiB per image."""


def pixel_weights(logits: Tensor, similarity: str, log: bool = False) -> Tensor:
    """The attention weights W of logits `[..., N]`, or with `log` their logarithms.

    `sigmoid` is the paper's: rows do not sum to one, so W x grows with N. `sigmoid-bias` shifts the logits by
    -log N (arXiv 2409.04431), `sigmoid-mean` divides by N, any other is softmax. No similarity scales the logits.
    """
    if not similarity.startswith("sigmoid"):
        return torch.log_softmax(logits, dim=-1) if log else torch.softmax(logits, dim=-1)
    pixels = logits.shape[-1]
    if similarity == "sigmoid-bias":
        logits = logits - math.log(pixels)
    weights = F.logsigmoid(logits) if log else torch.sigmoid(logits)
    if similarity == "sigmoid-mean":
        return weights - math.log(pixels) if log else weights / pixels
    return weights


def resolve_implementation(implementation: str, pixels: int, device: torch.device | str) -> str:
    """The implementation for a latent of N pixels on a device: "dense" or "linear".

    "auto" is dense up to 1,024 pixels, where that is faster, and on torch's `meta` device, where it takes no memory and
    counts the formula's own products; otherwise linear. UsageError for an implementation that does not exist.
    """
    if implementation not in IMPLEMENTATIONS:
        raise unknown("attention implementation", implementation, IMPLEMENTATIONS)
    if implementation != "auto":
        return implementation
    return "dense" if pixels <= DENSE_PIXELS or torch.device(device).type == "meta" else "linear"


def attend(queries: Tensor, keys: Tensor, values: Tensor, similarity: str, implementation: str = "auto") -> Tensor:
    """W v `[B, N, C]`, with the weights W = s(q k^T) of `pixel_weights`.

    Computed in float32 under any autocast, in float64 where all arguments are.

    Args:
        queries: `[B, N, c]`.
        keys: `[B, N, c]`.
        values: `[B, N, C]`.
        similarity: `sigmoid`, `sigmoid-bias`, `sigmoid-mean` or `softmax`.
        implementation: "dense" builds W, N x N per image, and saves it for backward; "linear" returns the same within
            rounding from tiles of W, and saves only the arguments (up to 256 pixels W is one tile, and both are the
            same). "auto" picks (`resolve_implementation`).
    """
    pixels = keys.shape[1]
    picked = resolve_implementation(implementation, pixels, values.device)
    with torch.autocast(values.device.type, enabled=False):
        if any(x.dtype != torch.float64 for x in (queries, keys, values)):
            queries, keys, values = queries.float(), keys.float(), values.float()
        if picked == "dense" or fits_a_tile(pixels):
            return pixel_weights(queries @ keys.mT, similarity) @ values
        return linear_attention(queries, keys, values, similarity)


class ResidualPixelAttention(FullPrecision, Attention):
    """Every pixel of a latent attends to every other, and the result is added to it.

    - literal (the paper): `W_ij = s(g1(x_i) . g2(x_j))`, output `x + W x`; shapes `[B, C, H, W]` in and out.
    - projected (the authors' sibling code, arXiv 2309.13160): with `u = g1(x)` and `y = g2(x)`, output
      `u + s(u y^T) u`; the layer is also the projection to `filters` channels.

    `gated` is softmax times a learned scalar that starts at 0 (SAGAN); `uniform` is W = 1/N, which has no g2 and, in
    the literal form, no parameters: the control that distinguishes attention from a global average.

    Attributes:
        implementation: "auto", "dense" or "linear" (`attend`), which differ only by rounding; may be set at any time.
        heads: equal groups of channels that attend separately (arXiv 1706.03762, without an output projection; how the
            authors' three-head form joins its heads is not known).
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
        # float32: bfloat16 would round away the differences between pixels beside the raw sigmoid's large update
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            query = self.g1(x) if self.g1 is not None else x
            base = query if self.form == "projected" else x
            if self.g2 is None:
                return base, base.mean((2, 3), keepdim=True).expand_as(base)
            kind = "softmax" if self.similarity == "gated" else self.similarity
            q, k, v = (self._by_head(maps) for maps in (query, self.g2(x), base))
            update = attend(q, k, v, kind, self.implementation).mT.reshape(base.shape)
            return base, update if self.gate is None else self.gate * update

    def _by_head(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]` -> `[B * heads, N, C / heads]`."""
        return maps.reshape(len(maps) * self.heads, maps.shape[1] // self.heads, -1).mT

    def log_weights(self, x: Tensor, rows: Tensor) -> Tensor:
        x = x if x.dtype == torch.float64 else x.float()
        pixels = x.shape[2] * x.shape[3]
        shape = (len(x), self.heads, len(rows), pixels)
        with torch.autocast(x.device.type, enabled=False):
            if self.g1 is None or self.g2 is None:
                return x.new_full(shape, -math.log(pixels))
            logits = (self._by_head(self.g1(x))[:, rows] @ self._by_head(self.g2(x)).mT).view(shape)
        return pixel_weights(logits, self.similarity, log=True)

    def row(self, x: Tensor, pixel: int) -> tuple[Tensor, Tensor]:
        maps = self.g1(x) if self.form == "projected" and self.g1 is not None else x
        base = maps[0].flatten(1)
        weights = self.log_weights(x, torch.tensor([pixel], device=x.device))[0, :, 0].exp()
        update = torch.einsum("hcn,hn->hc", base.view(self.heads, -1, base.shape[1]), weights).flatten()
        return base[:, pixel], update if self.gate is None else self.gate * update

    def computed(self, pixels: int, device: torch.device | str) -> str | None:
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
    """x + conv1x1(ReLU(conv1x1(x))): the attention's parameter count (exactly where `filters` equals `channels`).

    No pixel sees another.
    """

    recomputable = True

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, filters, 1)
        self.outer = nn.Conv2d(filters, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.outer(F.relu(self.inner(x)))
        return out
