"""Two processes that share a training (gloo, on the CPU) hold the same model, and that of one process alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import shared_training
import torch
from torch import Tensor, nn

from avq.data.sources import Dataset
from avq.errors import UsageError
from avq.models import collective
from avq.models.quantizers import vq
from avq.training import trainer
from avq.training.config import TrainConfig
from avq.training.ranks import Ranks, average_norms, join_ranks

ROOT = Path(__file__).parents[2]
SECONDS = 240  # about ten on an idle machine; ranks that wait for each other would never end
SCRIPT = Path(shared_training.__file__)


def by_two(out: Path, variant: str) -> list[dict[str, Tensor]]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    started = subprocess.Popen(
        [*words, str(SCRIPT), str(out), variant],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        errors = started.communicate(timeout=SECONDS)[1]
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # ranks that wait for each other too
        started.communicate()
        raise
    assert started.returncode == 0, errors[-3000:]
    return [safetensors.torch.load_file(out / f"rank-{rank}.safetensors") for rank in range(2)]


@pytest.mark.timeout(SECONDS + 60)
def test_two_processes_agree_and_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = by_two(tmp_path, "aren-2-rpa-mean")
    steps = {name.partition(".")[0] for name in first} - {"end"}
    assert len(steps) == 20
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    for module, name in ((trainer, "TrainStep"), (vq, "_RESTART_BELOW")):  # put back what the script replaces
        monkeypatch.setattr(module, name, getattr(module, name))
    alone, rows = shared_training.trained("aren-2-rpa-mean")
    for name, tensor in alone.items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-3, atol=2e-4, msg=lambda text, n=name: f"{n}: {text}")
    curves = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    for mine, theirs, one in zip(*curves, rows, strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}
        assert mine["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert mine["validation-mae"] == pytest.approx(one["validation-mae"], rel=1e-3)
    uses = [alone[f"{step}.quantizers.0.code_counts"] for step in range(20)]
    assert any((now > 2 * before).any() for before, now in pairwise(uses)), "no code was restarted"


def test_without_a_launcher_a_process_is_alone() -> None:
    ranks = join_ranks("cpu")
    module = nn.Linear(2, 2)
    assert (ranks.device, ranks.rank, ranks.count, ranks.first) == ("cpu", 0, 1, True)
    assert ranks.share(module) is module


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"pip install 'avq-bench\[ranks\]'"):
        join_ranks("cpu")


def test_collectives_of_one_process_change_nothing() -> None:
    rows = torch.arange(12.0).view(4, 3)
    assert collective.all_sum(rows)[0] is rows
    assert collective.from_first(rows) is rows
    torch.manual_seed(0)
    drawn = collective.random_rows(rows, 6)
    torch.manual_seed(0)
    assert torch.equal(drawn, rows[torch.randint(4, (6,))])
    norm = nn.BatchNorm2d(2)
    average_norms({"model": norm})
    assert norm.running_var is not None
    assert norm.running_var.tolist() == [1, 1]


def test_a_batch_that_cannot_be_shared_is_named(faces: Dataset) -> None:
    with pytest.raises(UsageError, match="batch_size=8 cannot be shared equally by 3 processes; 9 can"):
        trainer.train(shared_training.fresh("aren-1"), faces, TrainConfig(batch_size=8), 0, ranks=Ranks("cpu", count=3))
