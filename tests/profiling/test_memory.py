"""Peaks and what is free, against blocks of known size. Where a peak is asserted, it runs in a process of its own."""

from __future__ import annotations

import mmap
import subprocess
import sys

import pytest
import torch

from avq.profiling.memory import (
    can_reset_peak,
    free_memory,
    held_memory,
    median_and_stderr,
    peak_memory,
    reset_peak,
)

pytestmark = pytest.mark.skipif(not can_reset_peak(), reason="peaks of a process are set back on Linux alone")


def test_peak_is_plausible_and_falls_only_when_it_is_set_back() -> None:
    before = peak_memory()
    with mmap.mmap(-1, 32 * 2**20) as block:  # goes back to the system when closed, whatever the allocator keeps
        block.write(bytes(len(block)))
        assert 50 < before <= peak_memory() < 1e5
    high = peak_memory()
    reset_peak()
    assert peak_memory() < high - 16


PAIRS = """
def call():
    for _ in range(2):
        pair = [torch.ones({mebibytes} * 2**18) for _ in range(2)]
        del pair
"""
KEEPING = """
kept = []
def call():
    if not kept:
        kept.append(torch.ones(8 * 2**18))
    torch.ones(2**18)
"""
AROUND = """
import torch
from avq.profiling.memory import measure_passes
{call}
{before}
print(*measure_passes(call).memory)
"""


def test_extra_memory_is_that_of_the_blocks_at_their_peak() -> None:
    """Two blocks at once: of 8 MiB, which glibc keeps for the next call, and of 48, which it gives back.

    A base taken as it is after a first call would hide what was kept of it. What stays after the first call, as an
    optimiser's state does, is counted in every repeat. Each in a fresh process, as such measurements are.
    """
    cases = [
        (AROUND.format(call=PAIRS.format(mebibytes=8), before="call()"), 16),
        (AROUND.format(call=PAIRS.format(mebibytes=48), before="call()"), 96),
        (AROUND.format(call=KEEPING, before="torch.ones(4)"), 9),
    ]
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for code, _ in cases]
    for process, (_, expected) in zip(started, cases, strict=True):
        out, _ = process.communicate(timeout=120)
        assert [float(word) for word in out.split()] == pytest.approx([expected] * 3, abs=0.75)


def test_a_long_call_is_timed_where_its_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from avq.profiling import memory

    calls: list[int] = []
    for long, expected in ((0.0, 3), (1e9, 3 + 1 + 3)):
        calls.clear()
        monkeypatch.setattr(memory, "_LONG", long)
        taken = memory.measure_passes(lambda: calls.append(1), repeats=3)
        assert (len(calls), len(taken.seconds), len(taken.memory)) == (expected, 3, 3)


def test_held_memory_gives_back_what_the_allocator_keeps() -> None:
    blocks = [torch.ones(2**14) for _ in range(500)]  # 31 MiB in small pieces
    high = held_memory()
    del blocks
    assert held_memory() < high - 20


def test_median_and_stderr() -> None:
    assert median_and_stderr((3.0,)) == (3.0, None)
    median, stderr = median_and_stderr((1.0, 2.0, 6.0))
    assert median == 2.0
    assert stderr == pytest.approx(7**0.5 / 3**0.5)


def test_free_memory_is_no_more_than_the_machine_has() -> None:
    import psutil

    assert 1 < free_memory() <= psutil.virtual_memory().total / 2**20
