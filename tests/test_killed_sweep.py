"""A real sweep that is killed (SIGKILL) at random points ends as one that was left alone, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from avq.store.record import read_records
from avq.training.checkpoint import read_tensors

ROOT = Path(__file__).parents[1]
ROWS = "aren-1-rpa-mean,vqvae2,patch-kmeans"
SETTINGS = [
    "steps=150",
    "batch_size=8",
    "width=8",
    "code_dim=16",
    "codebook_size=32",
    "image_size=32",
    "train_images=64",
    "test_images=64",
]
# Loaded by every run's process: a state at every step, so that each kill leaves one to go on from.
PLUGIN = "from avq.training import trainer\ntrainer._SECONDS_BETWEEN_STATES = 0.0\n"
TIMED = ["training-time", "train-images-per-s", "inference-images-per-s", "peak-memory", "process-memory"]


def start(store: Path, folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "avq", "run", "ablation_levels", "--only", ROWS, "--seeds", "2", "--plugin", "often"]
    words += ["--output", str(store), *(word for setting in SETTINGS for word in ("--set", setting))]
    path = f"{ROOT}{os.pathsep}{folder}"
    return subprocess.Popen(
        words, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def killed_in_training(store: Path, folder: Path, delay: float) -> bool:
    """Start a sweep, wait for a state that it wrote, then a moment more, and kill it; False where it ended before."""
    sweep, began = start(store, folder), time.time()
    while sweep.poll() is None:
        if any(path.stat().st_mtime > began for path in store.glob("runs/*/state.safetensors")):
            time.sleep(delay)
            os.kill(sweep.pid, signal.SIGKILL)
            sweep.wait()
            time.sleep(1.0)  # its children notice
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_sweep_loses_nothing_and_ends_the_same(tmp_path: Path) -> None:
    (tmp_path / "often.py").write_text(PLUGIN)
    left_alone, killed = tmp_path / "left-alone", tmp_path / "killed"
    assert start(left_alone, tmp_path).wait() == 0
    chance, kills, resumed, finished = random.Random(0), 0, 0, {}
    while kills < 4 and killed_in_training(killed, tmp_path, chance.uniform(0, 3)):
        kills += 1
        resumed += len(list(killed.glob("runs/*/state.safetensors")))
        for record in (*killed.glob("runs/*/record.csv"), *killed.glob("runs/*/*/record.csv")):
            assert len(read_records(record)) > 0  # whole, or read_records says what is wrong with it
            assert finished.setdefault(record, record.read_bytes()) == record.read_bytes()
        assert all(path.exists() for path in finished)
    assert resumed, "no kill met a training: the test tests nothing"
    assert start(killed, tmp_path).wait() == 0
    weights = [
        {path.parent.name: read_tensors(path)[0] for path in store.glob("runs/*/checkpoint.safetensors")}
        for store in (left_alone, killed)
    ]
    assert len(weights[0]) == 6
    assert weights[0].keys() == weights[1].keys()
    for run, tensors in weights[0].items():
        assert all(torch.equal(tensor, weights[1][run][name]) for name, tensor in tensors.items()), run
    tables = [read_records(next(store.glob("experiments/*/table.csv"))) for store in (left_alone, killed)]
    before, after = (table[~table["metric"].isin(TIMED)].reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(before, after)
