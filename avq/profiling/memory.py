"""Memory as the system counts it: what a process holds, its peak, what a call takes more, and what is still free.

Of the CPU the peak is the process's high-water mark (`VmHWM`), which Linux can set back, so that every repeat has a
peak of its own; of a CUDA device it is that of torch's tensors.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from avq.machine import memory_room

MIB = 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_SMALL, _LARGE = 2**16, 2**25  # bytes; glibc raises its own threshold up to the larger as a process goes on
_LONG = 1.0  # s
_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def peak_memory(device: str = "cpu") -> float:
    """MiB at the highest since the process began, or since `reset_peak`: of this process, imports included, or of
    torch's tensors on a CUDA device.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    if _STATUS.exists():
        return status_field("VmHWM")
    import resource  # not on Windows, where the rest of this module works

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 2**10)


def status_field(name: str) -> float:
    """A size in MiB from `/proc/self/status` (Linux), such as `VmRSS`."""
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 2**10


def can_reset_peak(device: str = "cpu") -> bool:
    """Whether `reset_peak` works here: on CUDA devices, and for processes on Linux."""
    return torch.device(device).type == "cuda" or _RESET.exists()


def reset_peak(device: str = "cpu") -> None:
    """Set the peak back to what is held now."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _RESET.write_text("5", encoding="ascii")


def held_memory(device: str = "cpu") -> float:
    """MiB that the process (or torch on a CUDA device) holds now, without what it freed and the allocator kept.

    glibc keeps freed blocks of up to 32 MiB for the next call, still counted as the process's own; a call that found
    them would seem to take less. They are given back first, where the C library can.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device) / MIB
    with suppress(OSError, AttributeError):  # another C library keeps little, or cannot be asked
        ctypes.CDLL(None).malloc_trim(0)
    return status_field("VmRSS")


@dataclass(frozen=True)
class Passes:
    """What repeated calls took.

    Attributes:
        memory: MiB at the peak of each, less what was held before the first; empty where that cannot be measured.
        seconds: of each, by the clock.
    """

    memory: tuple[float, ...]
    seconds: tuple[float, ...]


def measure_passes(call: Callable[[], Any], device: str = "cpu", repeats: int = 3) -> Passes:
    """Extra memory, then time, of repeated calls. Call it in a fresh process; `call` must drop what it makes.

    What is held is taken once, before the first call, so that nothing which a call leaves behind raises the base of
    the next. For the memory, freed blocks go back to the system at once: the peak is that of what is in use. For the
    time, further calls are made, with an allocator that works as in a process that has run for a while; but calls of
    a second and more, of which fetching memory again is no part to speak of, are timed as they are.
    """
    memory: list[float] = []
    seconds: list[float] = []
    if can_reset_peak(device):
        _give_back_from(_SMALL)
        held = held_memory(device)
        for _ in range(repeats):
            reset_peak(device)
            seconds.append(seconds_of(call))
            memory.append(max(0.0, peak_memory(device) - held))
        _give_back_from(_LARGE)
    if not seconds or min(seconds) < _LONG:
        call()
        seconds = [seconds_of(call) for _ in range(repeats)]
    return Passes(tuple(memory), tuple(seconds))


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of one call by the clock, the device's work included."""
    wait_for_device()
    start = time.perf_counter()
    call()
    wait_for_device()
    return time.perf_counter() - start


def _give_back_from(size: int) -> None:
    """Tell glibc to give freed blocks of `size` bytes and more back at once; other C libraries are left alone."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, size)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * size)


def wait_for_device() -> None:
    """CUDA calls return before their work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_and_stderr(values: tuple[float, ...]) -> tuple[float, float | None]:
    """The median of repeats, and their standard deviation by the root of their number (None for one)."""
    if len(values) < 2:
        return values[0], None
    return statistics.median(values), statistics.stdev(values) / len(values) ** 0.5


def free_memory(device: str = "cpu") -> float:
    """MiB that may still be taken: of the system or the process's control groups, the lower; or of a CUDA device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MIB
    import psutil

    return min(float(psutil.virtual_memory().available), memory_room()) / MIB
