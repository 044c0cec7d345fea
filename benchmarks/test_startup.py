"""How long the command takes to answer, and to reach its first training step."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from avq.profiling.memory import seconds_of
from benchmarks.conftest import Report

_AVQ = [sys.executable, "-m", "avq"]
_ROOT = Path(__file__).parents[1]
_DATA = Path(os.environ.get("AVQ_DATA_ROOT") or _ROOT.parent / "shared" / "data")
_PATIENCE = 120.0
_RUNS = 3


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("words", [["--help"], ["list", "variants"]], ids=["help", "list"])
def test_answers_at_once(benchmark: Any, report: Report, words: list[str]) -> None:
    def call() -> None:
        subprocess.run([*_AVQ, *words], check=True, cwd=_ROOT, stdout=subprocess.DEVNULL)

    benchmark.pedantic(call, rounds=15, warmup_rounds=1)
    report(f"start-up, avq-bench {' '.join(words)}", "s", benchmark.stats.stats.median, limit=0.4, rounds=15)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.timeout(600)
def test_first_training_step(benchmark: Any, report: Report, tmp_path: Path) -> None:
    """Of `run` on CIFAR-10 (or, where it is not there, drawn faces), until the store says that a step was taken.

    The first process fills the caches; the trainer tells of its steps every half second, which counts too.
    """
    real = (_DATA / "cifar-10-batches-py").is_dir()
    data = ["--dataset", "cifar10", "--data-root", str(_DATA)] if real else ["--dataset", "synthetic-faces"]
    words = ["run", "ablation_levels", "--preset", "small", "--only", "aren-1", "--seeds", "1", *data]
    taken = [_seconds_to_first_step([*words, "--output", str(tmp_path / str(n))]) for n in range(_RUNS + 1)][1:]
    benchmark.pedantic(lambda: None, rounds=1)
    kind = "CIFAR-10" if real else "drawn faces"
    report(f"start-up, run to its first training step, {kind}", "s", statistics.median(taken), limit=5.0, rounds=_RUNS)


def _seconds_to_first_step(words: list[str]) -> float:
    output = Path(words[-1])
    process = subprocess.Popen(
        [*_AVQ, *words], cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return seconds_of(lambda: _wait(process, output))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], output: Path) -> None:
    begun = time.perf_counter()
    while time.perf_counter() - begun < _PATIENCE:
        for path in output.glob("runs/*/progress.json"):
            with suppress(OSError, json.JSONDecodeError):
                if json.loads(path.read_text())["state"] == "training":
                    return
        assert process.poll() is None, f"the command ended with {process.returncode} before its first step"
        time.sleep(0.01)
    raise AssertionError("no training step in time")
