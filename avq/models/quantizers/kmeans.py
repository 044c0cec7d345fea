"""k-means, for starting a codebook and for the k-means baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from avq.models.quantizers.nearest import nearest_codes

_LLOYD_ROUNDS = 10


def cluster_sums(vectors: Tensor, codes: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """The number of vectors of each code, `[K]`, and their sums, `[K, D]`, in the dtype of `vectors`."""
    counts = torch.bincount(codes, minlength=codebook_size).to(vectors.dtype)
    sums = vectors.new_zeros(codebook_size, vectors.shape[1]).index_add_(0, codes, vectors)
    return counts, sums


def kmeans(vectors: Tensor, codebook_size: int, rounds: int = _LLOYD_ROUNDS) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from random rows of `vectors` `[N, D]`: centroids `[K, D]` and their counts `[K]`.

    An empty cluster's centroid moves to a random vector. With fewer vectors than codes, rows repeat with a little
    noise, so that no two codes are equal (unless all values are). Draws from torch's global generator.
    """

    def varied(rows: Tensor) -> Tensor:
        few = codebook_size > len(vectors)
        return rows + 1e-3 * vectors.std() * torch.randn_like(rows) if few else rows

    order = torch.randperm(len(vectors), device=vectors.device)
    centroids = varied(vectors[order.repeat(-(-codebook_size // len(order)))[:codebook_size]])
    counts = torch.ones_like(centroids[:, 0])
    for _ in range(rounds):
        counts, sums = cluster_sums(vectors, nearest_codes(vectors, centroids), codebook_size)
        spare = varied(vectors[torch.randint(len(vectors), (codebook_size,), device=vectors.device)])
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], spare)
    return centroids, counts
