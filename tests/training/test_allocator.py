"""Freed memory stays with the process while it trains, and is given back before it does other work."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, resource
from avq.profiling.memory import status_field
from avq.training.allocator import give_freed_memory_back, keep_freed_memory

def faults(blocks):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        np.ones(2**22, dtype=np.uint8)  # 4 MiB, 1,024 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults(1)
assert faults(20) < 2000, "what was freed was fetched again"
blocks = [np.ones(2**22, dtype=np.uint8) for _ in range(50)]
del blocks
before = status_field("VmRSS")
give_freed_memory_back()
assert status_field("VmRSS") < before - 150, "nothing was given back"
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="sets glibc's malloc, and reads /proc"
)
def test_freed_memory_is_held_and_then_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
