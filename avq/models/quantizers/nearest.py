"""The best codebook vector of each latent vector, in tiles, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

TILE_VALUES = 2**18
"""Values per tile: 1 MiB of float32, so that it stays in a core's cache."""

_LEAST_ROWS = 256  # with fewer, reading a large codebook from memory takes longer than the product


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The nearest row of the codebook `[K, D]`, by Euclidean distance, for each of `vectors` `[N, D]`: int64 `[N]`.

    It has the largest x.e - |e|^2 / 2, computed in tiles over N, so that no N x K tensor exists. The codebook's mean is
    subtracted from both first, so that a large common offset costs no precision.
    """
    centre = codebook.mean(0)
    codebook = codebook - centre
    half_norms = codebook.square().sum(1).mul(-0.5)
    transposed = codebook.t().contiguous()
    tiles = [_argmax(torch.addmm(half_norms, tile - centre, transposed)) for tile in tiled(vectors, len(codebook))]
    return torch.cat(tiles)


def aligned_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The row of the codebook with the largest dot product, as `nearest_codes`."""
    transposed = codebook.t().contiguous()
    return torch.cat([_argmax(tile @ transposed) for tile in tiled(vectors, len(codebook))])


def tiled(vectors: Tensor, codebook_size: int) -> Iterable[Tensor]:
    """Vectors `[N, D]` in parts whose scores against a codebook stay small."""
    return torch.split(vectors, max(_LEAST_ROWS, TILE_VALUES // codebook_size))


def mean_squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean of (a - b)^2, both `[N, D]`, in tiles, so that the difference never exists as a whole."""
    rows = max(1, TILE_VALUES // a.shape[1])
    tiles = zip(torch.split(a, rows), torch.split(b, rows), strict=True)
    distances = torch.cat([torch.linalg.vector_norm(x - y, dim=1) for x, y in tiles])
    return distances.square().mean() / a.shape[1]


class _CodeVectors(torch.autograd.Function):
    """Autograd would make half a dozen tensors of the latents' size, where this makes one each way."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, codebook: Tensor, codes: Tensor, rotated: bool) -> tuple[Tensor, ...]:
        chosen = codebook.index_select(0, codes)
        error = mean_squared_distance(flat, chosen)
        ctx.save_for_backward(flat, chosen, codes)
        ctx.codebook_size, ctx.rotated = len(codebook), rotated
        return chosen, error, error.clone()

    @staticmethod
    def backward(ctx: Any, straight: Tensor, to_latents: Tensor, to_codebook: Tensor) -> tuple[Tensor | None, ...]:
        flat, chosen, codes = ctx.saved_tensors
        difference = flat - chosen
        slope = 2 / difference.numel()
        codebook = None
        if ctx.needs_input_grad[1]:
            codebook = difference.new_zeros(ctx.codebook_size, difference.shape[1])
            codebook.index_add_(0, codes, difference * (to_codebook * -slope))
        passed = straight
        if ctx.rotated:
            rows = max(1, TILE_VALUES // flat.shape[1])
            tiles = zip(*(torch.split(whole, rows) for whole in (straight, flat, chosen)), strict=True)
            passed = torch.cat([_rotated_back(*tile) for tile in tiles])
        return difference.mul_(to_latents * slope).add_(passed), codebook, None, None


def code_vectors(flat: Tensor, codebook: Tensor, codes: Tensor, rotated: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Each latent's code vector, and the mean of |z - e|^2 twice: to move the latents z, and to move the codebook.

    Args:
        flat: latents `[N, D]`.
        codebook: `[K, D]`.
        codes: `[N]`.
        rotated: the vectors' gradient passes to z turned back by the rotation from z to e and scaled by |e| / |z| (the
            rotation trick, arXiv 2410.06424, section 4.2); otherwise straight (1711.00937, section 3.2).

    Returns:
        The vectors `[N, D]`, those of the codebook to the last bit, and two equal scalars.
    """
    made: tuple[Tensor, Tensor, Tensor] = _CodeVectors.apply(flat, codebook, codes, rotated)
    return made


def _rotated_back(gradient: Tensor, z: Tensor, e: Tensor) -> Tensor:
    """(|e| / |z|) R^T g of R = I - 2 r r^T + 2 e' z'^T, with unit vectors z', e' and r along z' + e'."""
    unit_z, unit_e = F.normalize(z, dim=1), F.normalize(e, dim=1)
    r = F.normalize(unit_z + unit_e, dim=1)
    scale = e.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True).clamp(min=1e-6)
    turned = gradient - 2 * r * (r * gradient).sum(1, keepdim=True)
    passed: Tensor = scale * (turned + 2 * unit_z * (unit_e * gradient).sum(1, keepdim=True))
    return passed


def _argmax(scores: Tensor) -> Tensor:
    """`scores.argmax(1)`, the first of equal ones; `[N, K]` to int64 `[N]`.

    In two steps, because torch's `amax` is ten times as fast as `argmax`: the maximum of each of a few groups of
    columns, then the place within the first group that has the largest.
    """
    rows, columns = scores.shape
    groups = math.gcd(columns, 2 ** max(0, int(math.log2(columns)) // 2 - 1))
    if groups == 1:
        return scores.argmax(1)
    grouped = scores.view(rows * groups, columns // groups)
    best = grouped.amax(1).view(rows, groups).argmax(1)
    firsts = torch.arange(0, rows * groups, groups, device=scores.device)
    return best * (columns // groups) + grouped.index_select(0, firsts + best).argmax(1)
