"""Quantizers of single vectors: what they share, and a projection around any quantizer."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.kmeans import kmeans


class FlatQuantizer(Quantizer):
    """Quantizes each of N = B H W latent vectors `[N, D]` by itself, in float32 under any autocast."""

    @abstractmethod
    def quantize(self, flat: Tensor) -> Quantized:
        """Vectors `[N, D]`, exactly those of the codes, with a gradient; the codes; and the loss. N is above 0."""

    @abstractmethod
    def assign(self, flat: Tensor) -> Tensor:
        """The codes of vectors `[N, D]`: `[N]`, or `[N, R]` where a position has R."""

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """The vectors `[N, D]` of such codes."""

    def learn_from(self, flat: Tensor, codes: Tensor) -> None:
        """One update of what is learned without a gradient, from all vectors of a batch and their codes."""

    def start_from(self, flat: Tensor) -> None:
        """Start from the vectors of a large batch, all finite."""

    def forward(self, latents: Tensor) -> Quantized:
        with torch.autocast(latents.device.type, enabled=False):
            z, flat = _flat(latents)
            if not len(flat):
                return Quantized(latents.float(), self._on_grid(self.assign(flat), z), flat.sum())
            vectors, codes, loss = self.quantize(flat)
            if self.training and self.learning:
                with torch.no_grad():
                    self.learn_from(flat.detach(), codes)
            return Quantized(vectors.view_as(z).movedim(-1, 1), self._on_grid(codes, z), loss)

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        with torch.autocast(latents.device.type, enabled=False):
            z, flat = _flat(latents)
            return self._on_grid(self.assign(flat), z)

    def decode(self, codes: Tensor) -> Tensor:
        with torch.autocast(codes.device.type, enabled=False):
            vectors = self.vectors(codes.flatten(0, 2))
            return vectors.view(*codes.shape[:3], vectors.shape[1]).movedim(-1, 1)

    @torch.no_grad()
    def initialise(self, latents: Tensor) -> None:
        with torch.autocast(latents.device.type, enabled=False):
            _, flat = _flat(latents)
            if len(flat) and flat.isfinite().all():
                self.start_from(flat)

    @torch.no_grad()
    def learn(self, latents: Tensor) -> None:
        with torch.autocast(latents.device.type, enabled=False):
            _, flat = _flat(latents)
            if len(flat):
                self.learn_from(flat, self.assign(flat))

    @staticmethod
    def _on_grid(codes: Tensor, z: Tensor) -> Tensor:
        return codes.view(*z.shape[:-1], *codes.shape[1:])


def _flat(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Latents `[B, D, H, W]` as float32 `[B, H, W, D]` and `[N, D]`."""
    z = latents.float().movedim(1, -1)
    return z, z.reshape(-1, z.shape[-1])


class CodebookQuantizer(FlatQuantizer):
    """One whose K code vectors are the rows of `codebook` `[K, D]`."""

    codebook: Tensor

    def vectors(self, codes: Tensor) -> Tensor:
        return self.codebook.index_select(0, codes)

    def start_from(self, flat: Tensor) -> None:
        """Start from k-means."""
        self.codebook.copy_(kmeans(flat, self.codebook_size)[0])

    def codebook_values(self) -> int:
        return self.codebook.numel()


class Projected(Quantizer):
    """Another quantizer of vectors of its own width, between a linear projection inward and one outward.

    Latents have D channels on either side; distances and statistics are those of the projected vectors.
    """

    def __init__(self, inner: Quantizer, code_dim: int, inner_dim: int) -> None:
        super().__init__()
        self.inner, self.codebook_size = inner, inner.codebook_size
        self.inward, self.outward = nn.Linear(code_dim, inner_dim), nn.Linear(inner_dim, code_dim)

    def forward(self, latents: Tensor) -> Quantized:
        result: Quantized = self.inner(self._project(self.inward, latents))
        return result._replace(latents=self._project(self.outward, result.latents))

    def encode(self, latents: Tensor) -> Tensor:
        return self.inner.encode(self._project(self.inward, latents))

    def decode(self, codes: Tensor) -> Tensor:
        return self._project(self.outward, self.inner.decode(codes))

    @torch.no_grad()
    def initialise(self, latents: Tensor) -> None:
        self.inner.initialise(self._project(self.inward, latents))

    def codebook_values(self) -> int:
        return self.inner.codebook_values()

    @staticmethod
    def _project(layer: nn.Module, latents: Tensor) -> Tensor:
        with torch.autocast(latents.device.type, enabled=False):
            projected: Tensor = layer(latents.float().movedim(1, -1))
            return projected.movedim(-1, 1)


def projected(inner: Quantizer, code_dim: int, inner_dim: int) -> Quantizer:
    """The quantizer, in projections where its width is not that of the latents."""
    return inner if inner_dim == code_dim else Projected(inner, code_dim, inner_dim)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, moved: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient


def straight_through(moved: Tensor, value: Tensor) -> Tensor:
    """`value`, to the last bit, with a gradient that passes to `moved` as well as to `value`.

    The usual z + sg(q - z) differs from q by rounding, in a third of all values.
    """
    result: Tensor = _StraightThrough.apply(moved, value)
    return result
