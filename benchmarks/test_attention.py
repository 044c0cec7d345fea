"""Linear attention against dense, C = 128, forward and backward: time in turns, memory in processes of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avq.machine import cores
from benchmarks.attentions import attention
from benchmarks.conftest import Compare, Report
from benchmarks.memory import extra_memory

CHANNELS = 128
KINDS = ("sigmoid", "softmax")
# Side of the latent, images, rounds, and how fast linear is to be at the least, dense being 1.
TIMES = [(16, 1, 201, 1 / 1.15), (16, 16, 41, 1 / 1.15), (32, 1, 41, None), (64, 1, 9, 1.0), (128, 1, 3, None)]
SIDES = {"dense": (64, 96, 128), "linear": (64, 128, 256)}
EXPONENT = {"dense": 4.0, "linear": 2.3}


def _memory(implementation: str, similarity: str, side: int, filters: int) -> float | None:
    return extra_memory("benchmarks.attentions:attention", implementation, similarity, side, filters, CHANNELS)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("similarity", KINDS)
@pytest.mark.parametrize("filters", [128, 16])
@pytest.mark.parametrize(("side", "batch", "rounds", "goal"), TIMES)
def test_linear_is_no_slower(
    compare: Compare, side: int, batch: int, rounds: int, goal: float | None, filters: int, similarity: str
) -> None:
    """At 128x128 the memory is the claim: a twentieth of dense's."""
    memory: dict[str, Any] = {}
    if side == 128:
        memory = {f"{name}_mib": _memory(kind, similarity, side, filters)
                  for name, kind in (("ours", "linear"), ("peer", "dense"))} | {"memory_goal": 20.0}  # fmt: skip
    compare(
        f"attention {similarity}, linear, {batch} x {side} x {side}, C {CHANNELS}, c {filters}",
        attention("linear", similarity, side, filters, CHANNELS, batch),
        attention("dense", similarity, side, filters, CHANNELS, batch),
        "dense",
        rounds=rounds,
        goal=goal,
        **memory,
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("similarity", KINDS)
@pytest.mark.parametrize("filters", [128, 16])
@pytest.mark.parametrize("implementation", ["linear", "dense"])
def test_memory_grows_with_the_square_of_the_side(
    benchmark: Any, report: Report, implementation: str, similarity: str, filters: int
) -> None:
    """The exponent fitted to extra memory over the sides, 64 to 256 (65,536 pixels) for linear; dense to 128.

    It falls below 2 where a constant part (tiles, what the library of products packs) weighs at the small sides.
    """
    sides = SIDES[implementation]
    found: list[float | None] = []
    benchmark.pedantic(lambda: found.extend(_memory(implementation, similarity, side, filters) for side in sides),
                       rounds=1)  # fmt: skip
    if None in found:
        pytest.skip("memory is measured on Linux alone")
    peaks = np.array(found, dtype=float)
    exponent = float(np.polyfit(np.log(sides), np.log(peaks), 1)[0])
    shown = dict(zip(map(str, sides), peaks.round().tolist(), strict=True))
    benchmark.extra_info["extra MiB by side"] = shown
    print(f"\n{similarity}, {implementation}, c {filters}, extra MiB by side: {shown}")
    case = f"attention {similarity}, {implementation}, C {CHANNELS}, c {filters}, exponent of extra memory in the side"
    limit = EXPONENT["linear"] if implementation == "linear" else None
    report(case, "", exponent, limit=limit, threads=cores())
    assert implementation == "linear" or exponent > 3.7
