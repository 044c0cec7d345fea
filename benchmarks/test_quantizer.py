"""The quantizers against those of vector-quantize-pytorch."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.conftest import Compare, peer_version
from benchmarks.memory import extra_memory
from benchmarks.quantizers import Size, step

PEER = "vector-quantize-pytorch"

# Latents of a CIFAR-10 batch at preset small; the size, with a small and a large codebook.
CASES: list[tuple[str, Size, int, int, float | None]] = [
    ("vq", (64, 8, 8, 64), 256, 41, None),
    ("vq", (16, 32, 32, 256), 1024, 15, 5.0),
    ("vq", (16, 32, 32, 256), 8192, 5, 4.0),
    *((kind, (16, 32, 32, 64), 1024, 15, 4.0) for kind in ("rotation", "simvq", "residual")),
    *((kind, (16, 32, 32, 64), 1024, 15, 1.0) for kind in ("fsq", "bsq", "lfq")),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("training", [True, False], ids=["training", "forward"])
@pytest.mark.parametrize(("quantizer", "size", "codebook_size", "rounds", "goal"), CASES)
def test_quantizer(
    compare: Compare, quantizer: str, size: Size, codebook_size: int, rounds: int, goal: float | None, training: bool
) -> None:
    pytest.importorskip("vector_quantize_pytorch", reason="the peer is not installed: pip install 'avq-bench[peers]'")
    what: tuple[Any, ...] = (size, codebook_size, training, quantizer)
    memory = {f"{which}_mib": extra_memory("benchmarks.quantizers:step", which, *what) for which in ("ours", "peer")}
    shape = " x ".join(map(str, size))
    kind = "training" if training else "forward"
    compare(
        f"{quantizer} {kind}, {shape}, K {codebook_size}",
        step("ours", *what),
        step("peer", *what),
        peer_version(PEER),
        rounds=rounds,
        goal=goal if training else None,
        memory_goal=4.0 if goal and goal >= 4 and training else None,
        **memory,
    )
