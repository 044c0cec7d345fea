"""How much a machine's speed varies by itself: a fixed piece of work, again and again, on one thread and on all."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avq.machine import cores
from avq.profiling.memory import seconds_of

NOISY = 0.1
_SIDE, _REPEATS = 768, 60
_KINDS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # what decides how fast a CPU multiplies


@cache
def noise() -> float:
    """The noise of this machine now; measured once a process, which takes a second."""
    threads = torch.get_num_threads()
    try:
        return of(_seconds(1), _seconds(cores()))
    finally:
        torch.set_num_threads(threads)


def of(one: NDArray[np.float64], every: NDArray[np.float64]) -> float:
    """By what share of their median the slowest or fastest tenth of the repeats departs from it.

    Of one thread's seconds or all threads', whichever is more; where all threads together are slower than one, a
    neighbour is at work, and it is by how much at least.
    """
    return max(_spread(one), _spread(every), float(np.median(every) / np.median(one)) - 1)


def _seconds(threads: int) -> NDArray[np.float64]:
    torch.set_num_threads(threads)
    matrix = torch.ones(_SIDE, _SIDE)
    seconds_of(lambda: matrix @ matrix)
    return np.array([seconds_of(lambda: matrix @ matrix) for _ in range(_REPEATS)])


def _spread(seconds: NDArray[np.float64]) -> float:
    low, median, high = np.quantile(seconds, [0.1, 0.5, 0.9])
    return float(max(high - median, median - low) / median)


def cpu_kind() -> str:
    """The widest arithmetic that this CPU states; empty where the system does not say."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return ""
    return next((kind for kind in _KINDS if kind in flags), "")
