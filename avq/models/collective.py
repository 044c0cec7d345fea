"""Collectives between the processes (ranks) of one training; each is the identity where a process trains alone."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """How many processes share the training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def all_sum(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor's sum over all ranks, in place and bit-equal on every rank."""
    if ranks() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)
    return tensors


def mean_over_ranks(mean: Tensor) -> Tensor:
    """The mean of a tensor over all ranks, with the gradient of this rank's own: gradients are averaged over ranks."""
    if ranks() == 1:
        return mean
    whole = all_sum(mean.detach().clone())[0] / ranks()
    return mean + (whole - mean.detach())


def from_first(tensor: Tensor) -> Tensor:
    """The first rank's tensor on every rank, in place."""
    if ranks() > 1:
        dist.broadcast(tensor, 0)
    return tensor


def random_rows(rows: Tensor, count: int) -> Tensor:
    """`count` random rows `[count, D]` of all ranks' `[N, D]` together, the same on every rank.

    They are those that one process with all rows, rank by rank, would draw from torch's global generator.
    """
    chosen = from_first(torch.randint(len(rows) * ranks(), (count,), device=rows.device))
    if ranks() == 1:
        return rows[chosen]
    mine = (chosen // len(rows) == rank())[:, None]
    return all_sum(torch.where(mine, rows[chosen % len(rows)], 0.0))[0]
