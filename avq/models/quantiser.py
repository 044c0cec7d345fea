"""Vector quantisation with a straight-through gradient (arXiv 1711.00937) and an EMA codebook (its appendix A.1)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.collective import all_sum, random_rows

_TILE_VALUES = 2**18  # a tile of similarities is 1 MiB of float32: it stays in a core's cache
_LEAST_ROWS = 256  # with fewer, a large codebook is read from memory more often than the product can hide
_RESTART_BELOW = 0.05  # a code used less than this share of the mean use is dead
_LLOYD_ROUNDS = 10


class Quantised(NamedTuple):
    """Quantised latents `[B, D, H, W]` (float32), codes int64 `[B, H, W]`, and the weighted loss (a scalar)."""

    latents: Tensor
    codes: Tensor
    loss: Tensor


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The index of the nearest codebook row for each row of `vectors`, by Euclidean distance.

    Args:
        vectors: float32 `[N, D]`.
        codebook: float32 `[K, D]`.

    Returns:
        int64 `[N]`. The nearest is the largest x.e - |e|^2 / 2, in tiles over N, so that no N x K tensor is
        ever held; both are taken from the codebook's mean, so that a large common offset costs no digits.
    """
    centre = codebook.mean(0)
    codebook = codebook - centre
    half_norms = codebook.square().sum(1).mul(-0.5)
    rows = max(_LEAST_ROWS, _TILE_VALUES // len(codebook))
    transposed = codebook.t().contiguous()
    tiles = [_argmax(torch.addmm(half_norms, tile - centre, transposed)) for tile in torch.split(vectors, rows)]
    return torch.cat(tiles)


def _argmax(scores: Tensor) -> Tensor:
    """`scores.argmax(1)`, the first where several are largest; `[N, K]` to int64 `[N]`.

    In two steps, because torch's search for a maximum is ten times as fast as that for its place: the largest of
    each of a few groups of columns, then the place within the first group that has the largest.
    """
    rows, columns = scores.shape
    groups = math.gcd(columns, 2 ** max(0, int(math.log2(columns)) // 2 - 1))
    if groups == 1:
        return scores.argmax(1)
    grouped = scores.view(rows * groups, columns // groups)
    best = grouped.amax(1).view(rows, groups).argmax(1)
    firsts = torch.arange(0, rows * groups, groups, device=scores.device)
    return best * (columns // groups) + grouped.index_select(0, firsts + best).argmax(1)


def cluster_sums(vectors: Tensor, codes: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """How many vectors each code has, `[K]`, and their sum, `[K, D]`; both in the dtype of `vectors`."""
    counts = torch.bincount(codes, minlength=num_codes).to(vectors.dtype)
    sums = vectors.new_zeros(num_codes, vectors.shape[1]).index_add_(0, codes, vectors)
    return counts, sums


def kmeans(vectors: Tensor, num_codes: int, rounds: int = _LLOYD_ROUNDS) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from random rows of `vectors` `[N, D]`: centroids `[K, D]` and their counts `[K]`.

    A centroid that no vector chooses moves to a random vector. With fewer vectors than codes, rows repeat
    with a little noise, so that no two codes are equal. Draws from torch's global generator.
    """
    order = torch.randperm(len(vectors), device=vectors.device)
    centroids = vectors[order.repeat(-(-num_codes // len(order)))[:num_codes]]
    if num_codes > len(vectors):
        centroids = centroids + 1e-3 * vectors.std() * torch.randn_like(centroids)
    counts = torch.ones_like(centroids[:, 0])
    for _ in range(rounds):
        counts, sums = cluster_sums(vectors, nearest_codes(vectors, centroids), num_codes)
        spare = vectors[torch.randint(len(vectors), (num_codes,), device=vectors.device)]
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], spare)
    return centroids, counts


def mean_squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean over all values of (a - b)^2, both `[N, D]`, in tiles: the difference is never held whole."""
    rows = max(1, _TILE_VALUES // a.shape[1])
    tiles = zip(torch.split(a, rows), torch.split(b, rows), strict=True)
    distances = torch.cat([torch.linalg.vector_norm(x - y, dim=1) for x, y in tiles])
    return distances.square().mean() / a.shape[1]


class _StraightThrough(torch.autograd.Function):
    """Latents' code vectors, and the mean of |z - e|^2 twice: once to move the latents z, once to move the codebook.

    The gradient of the vectors passes straight to z. Written by hand because autograd would make, and pass over,
    half a dozen tensors of the latents' size where one each way does: the vectors, and z's gradient.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor, codebook: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents `[N, D]`, codebook `[K, D]` and codes `[N]` to vectors `[N, D]` and two equal scalars."""
        chosen = codebook.index_select(0, codes)
        error = mean_squared_distance(flat, chosen)
        ctx.save_for_backward(flat, chosen, codes)
        ctx.num_codes = len(codebook)
        return chosen, error, error.clone()

    @staticmethod
    def backward(ctx: Any, straight: Tensor, to_latents: Tensor, to_codebook: Tensor) -> tuple[Tensor | None, ...]:
        flat, chosen, codes = ctx.saved_tensors
        difference = flat - chosen
        slope = 2 / difference.numel()
        codebook = None
        if ctx.needs_input_grad[1]:
            codebook = difference.new_zeros(ctx.num_codes, difference.shape[1])
            codebook.index_add_(0, codes, difference * (to_codebook * -slope))
        return difference.mul_(to_latents * slope).add_(straight), codebook, None


class VectorQuantizer(nn.Module):
    """Replaces each latent vector by its nearest of K codebook vectors.

    The loss is `commitment * |z - sg(e)|^2`, plus `|sg(z) - e|^2` where the codebook learns by gradient; sg stops
    the gradient. Distances and statistics are float32 whatever the autocast.

    Args:
        num_codes: K.
        dim: D, the channels of the latents.
        ema_decay: decay of the EMA codebook (a buffer); None makes the codebook a parameter that learns by gradient.
        commitment: beta, on the term that moves the encoder.
        restarts: in training, move codes that are hardly used onto random latents of the batch.
    """

    def __init__(
        self, num_codes: int, dim: int, ema_decay: float | None = None, commitment: float = 0.25, restarts: bool = False
    ) -> None:
        super().__init__()
        self.num_codes, self.dim = num_codes, dim
        self.ema_decay, self.commitment, self.restarts = ema_decay, commitment, restarts
        if ema_decay is None:
            self.codebook: Tensor = nn.Parameter(torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes))
        else:
            self.register_buffer("codebook", torch.randn(num_codes, dim))
            self.register_buffer("code_sums", self.codebook.clone())
        if ema_decay is not None or restarts:
            self.register_buffer("code_counts", torch.ones(num_codes))  # with code_sums = codebook: a use each

    code_counts: Tensor
    code_sums: Tensor

    def forward(self, latents: Tensor) -> Quantised:
        """Quantise `[B, D, H, W]`; in training also move the codebook's statistics."""
        with torch.autocast(latents.device.type, enabled=False):
            z = latents.float().movedim(1, -1)
            flat = z.reshape(-1, self.dim)
            codes = nearest_codes(flat.detach(), self.codebook.detach())
            chosen, to_latents, to_codebook = _StraightThrough.apply(flat, self.codebook, codes)
            loss = self.commitment * to_latents
            if self.ema_decay is None:
                loss = loss + to_codebook
            if self.training:
                self._learn(flat.detach(), codes)
        return Quantised(chosen.view_as(z).movedim(-1, 1), codes.view(z.shape[:-1]), loss)

    @torch.no_grad()
    def learn(self, latents: Tensor) -> None:
        """Move the codebook's statistics by latents `[B, D, H, W]`, as a forward pass in training does."""
        self._learn(latents.float().movedim(1, -1).reshape(-1, self.dim), self.encode(latents).flatten())

    def encode(self, latents: Tensor) -> Tensor:
        """The codes alone, int64 `[B, H, W]`."""
        z = latents.detach().float().movedim(1, -1)
        return nearest_codes(z.reshape(-1, self.dim), self.codebook.detach()).view(z.shape[:-1])

    def decode(self, codes: Tensor) -> Tensor:
        """Codebook vectors `[B, D, H, W]` of codes `[B, H, W]`."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def initialise(self, latents: Tensor) -> None:
        """Start the codebook from k-means over latents `[B, D, H, W]`; use starts at one a code."""
        centroids, counts = kmeans(latents.float().movedim(1, -1).reshape(-1, self.dim), self.num_codes)
        self.codebook.copy_(centroids)
        if hasattr(self, "code_counts"):
            self.code_counts.copy_((counts / counts.mean()).clamp(min=2 * _RESTART_BELOW))
        if self.ema_decay is not None:
            self.code_sums.copy_(centroids * self.code_counts[:, None])

    @torch.no_grad()
    def _learn(self, flat: Tensor, codes: Tensor) -> None:
        if not hasattr(self, "code_counts"):
            return
        counts, sums = all_sum(*cluster_sums(flat, codes, self.num_codes))
        decay = self.ema_decay if self.ema_decay is not None else 0.99
        self.code_counts.lerp_(counts, 1 - decay)
        if self.ema_decay is not None:
            self.code_sums.lerp_(sums, 1 - decay)
            # Laplace smoothing keeps a code that nothing chose from dividing by zero
            total = self.code_counts.sum()
            smoothed = (self.code_counts + 1e-5) / (total + self.num_codes * 1e-5) * total
            self.codebook.copy_(self.code_sums / smoothed[:, None])
        if self.restarts:
            self._restart(flat)

    def _restart(self, flat: Tensor) -> None:
        """Move dead codes onto latents of the batch, with the sums and counts that go with the new place."""
        mean_use = self.code_counts.mean()
        dead = self.code_counts < _RESTART_BELOW * mean_use
        places = random_rows(flat, self.num_codes)
        self.codebook.copy_(torch.where(dead[:, None], places, self.codebook))
        self.code_counts.copy_(torch.where(dead, mean_use, self.code_counts))
        if self.ema_decay is not None:
            self.code_sums.copy_(torch.where(dead[:, None], places * mean_use, self.code_sums))
