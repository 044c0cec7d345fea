"""The nearest codebook vector of each latent vector, in tiles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
    rows = max(_LEAST_ROWS, TILE_VALUES // len(codebook))
    transposed = codebook.t().contiguous()
    tiles = [_argmax(torch.addmm(half_norms, tile - centre, transposed)) for tile in torch.split(vectors, rows)]
    return torch.cat(tiles)


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
