"""Memory as the system counts it: what a process holds, its peak, what a call needs on top, and what is free.

On the CPU the peak is the process's high-water mark (`VmHWM`), which Linux can reset, so that every repeat has a
peak of its own; on a CUDA device it is that of torch's tensors.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from avq.machine import memory_room

MIB = 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_SMALL, _LARGE = 2**16, 2**25  # bytes; glibc itself raises its threshold up to the larger as a process runs
_LONG = 1.0  # s
_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def peak_memory(device: str = "cpu") -> float:
    """Peak in MiB since the process began or since `reset_peak`: of this process, or of torch's CUDA tensors."""
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
    """Lower the peak to what is held now."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _RESET.write_text("5", encoding="ascii")


def held_memory(device: str = "cpu") -> float:
    """MiB that the process (or torch on a CUDA device) holds now, without freed memory that the allocator retains.

    glibc retains freed blocks of up to 32 MiB, still counted as the process's own; a call that reused them would seem
    to need less. They are returned to the system first, if the C library can.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device) / MIB
    with suppress(OSError, AttributeError):  # another C library retains little, or cannot be asked
        ctypes.CDLL(None).malloc_trim(0)
    return status_field("VmRSS")


class Passes(NamedTuple):
    """What each of repeated calls took: peak MiB beyond what was held before (if it can be measured), and seconds."""

    memory: tuple[float, ...]
    seconds: tuple[float, ...]


def measure_passes(call: Callable[[], Any], device: str = "cpu", repeats: int = 3) -> Passes:
    """Extra memory, then time, of repeated calls. Call it in a fresh process; `call` must drop what it creates.

    Held memory is read once, before the first call: what a call leaves behind does not raise the base of the next. For
    the memory, freed blocks return to the system at once, so the peak is that of memory in use. The time is of further
    calls, with an allocator as in a process that has run for a while; but calls of a second and more, which spend next
    to nothing on fetching memory, are not repeated.
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
    """Seconds of one call by the clock, including the device's work."""
    wait_for_device()
    start = time.perf_counter()
    call()
    wait_for_device()
    return time.perf_counter() - start


def _give_back_from(size: int) -> None:
    """Make glibc return freed blocks of `size` bytes and more at once; other C libraries are left alone."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, size)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * size)


def wait_for_device() -> None:
    """Wait for CUDA work: its calls return before it is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_and_stderr(values: tuple[float, ...]) -> tuple[float, float | None]:
    """The median of repeats, and their standard deviation over the root of their number (None for one)."""
    if len(values) < 2:
        return values[0], None
    return statistics.median(values), statistics.stdev(values) / len(values) ** 0.5


def free_memory(device: str = "cpu") -> float:
    """Free MiB: of the system or the process's control groups, the lower; or of a CUDA device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MIB
    import psutil

    return min(float(psutil.virtual_memory().available), memory_room()) / MIB
