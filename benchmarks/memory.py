"""The memory that a call takes beyond what its process holds already (Linux)."""

from __future__ import annotations

import multiprocessing
from typing import Any

from avq.profiling.memory import can_reset_peak, held_memory, peak_memory, reset_peak
from benchmarks.own_process import made


def extra_memory(maker: str, *arguments: Any) -> float | None:
    """MiB at the peak of a call less what was held before it, in a process of its own; None where not on Linux.

    The call is made once before, so that what libraries keep for good is not counted; then free pages go back to
    the system and the high-water mark is reset.

    Args:
        maker: "module:function" that takes the arguments and gives the call.
        arguments: what is handed to it.
    """
    if not can_reset_peak():
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (maker, arguments))


def _measure(maker: str, arguments: tuple[Any, ...]) -> float:
    call = made(maker, arguments)
    call()
    held = held_memory()
    reset_peak()
    call()
    return peak_memory() - held
