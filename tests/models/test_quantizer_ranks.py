"""Two processes (gloo, on the CPU) that share a batch hold the same quantizers, and those of one process alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import shared_quantizers
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_two_processes_agree_and_equal_one(tmp_path: Path) -> None:
    """Even in the entropies of the whole batch. The anchors of `cvq` are drawn: they are the same on both."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, shared_quantizers.__file__, str(tmp_path)], env=environment, check=True, timeout=200)
    first, second = (safetensors.torch.load_file(tmp_path / f"rank-{rank}.safetensors") for rank in range(2))
    for name, alone in shared_quantizers.stepped().items():
        assert torch.equal(first[name], second[name]), name
        if name != "cvq.codebook":
            torch.testing.assert_close(first[name], alone, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: n + text)
