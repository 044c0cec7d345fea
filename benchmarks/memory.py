"""The memory that a call takes beyond what its process holds already (Linux)."""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def extra_memory(maker: str, *arguments: Any) -> float | None:
    """MiB at the peak of a call less what was held before it, in a process of its own; None where not on Linux.

    The call is made once before, so that what libraries keep for good is not counted; then free pages go back to
    the system and the high-water mark is reset.

    Args:
        maker: "module:function" that takes the arguments and gives the call.
        arguments: what is handed to it.
    """
    if sys.platform != "linux":
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (maker, arguments))


def _measure(maker: str, arguments: tuple[Any, ...]) -> float:
    module, _, function = maker.partition(":")
    call: Callable[[], object] = getattr(importlib.import_module(module), function)(*arguments)
    call()
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> float:
    """KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
