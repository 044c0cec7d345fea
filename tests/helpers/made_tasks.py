"""Small runs, jobs and settings for tests."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from avq.design import parts
from avq.design.run import Evaluation, Run
from avq.files import write_json
from avq.models.zoo import variant_config
from avq.tasks.job import Job
from avq.training.config import TrainConfig, effective

ROWS = ["aren-1", "patch-kmeans"]
TINY = {"steps": 3, "batch_size": 4, "width": 4, "code_dim": 8, "codebook_size": 8, "train_images": 16,
        "validation_images": 8, "test_images": 8, "validate_every": 2}  # fmt: skip


def make_run(variant: str = "aren-1", seed: int = 0, code: str = "c0de", **train: object) -> Run:
    """A run that nobody trains; a content of its own for every variant's name."""
    config = TrainConfig(steps=5, batch_size=4, precision="float32")
    return Run(
        variant=variant,
        factory=None,
        model=variant_config("aren-1", width=2 + zlib.crc32(variant.encode()) % 1000),
        data={"dataset": "synthetic-faces", "image_size": 32},
        images="f" * 16,
        train=effective(replace(config, **train)),  # type: ignore[arg-type]
        seed=seed,
        code=code,
    )


def measure(code: str) -> dict[str, object]:
    """A measure of an evaluation, without weights."""
    return {"code": code, "weights": []}


def write_run(folder: Path, data: dict[str, object], seed: int = 0) -> None:
    """Say in a folder that a run was trained on such data."""
    write_json(folder / "task.json", replace(make_run(seed=seed), data=data).describe())


def make_job(root: Path, run: Run, fresh: bool = False) -> Job:
    """A job that evaluates the run, after its training."""
    measures = {"avq.metrics.error:MeanAbsoluteError": measure("e" * 16)}
    return Job(Evaluation(run, measures, "e" * 16), root, None, "cpu", fresh=fresh)


def change_code(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let all that is made of a module be of other code than it is."""
    before = parts.code_fingerprint

    def fingerprint(modules: tuple[str, ...]) -> str:
        of_it = any(name.partition(":")[0] == module for name in modules)
        return f"changed-{before(modules)}" if of_it else before(modules)

    monkeypatch.setattr(parts, "code_fingerprint", fingerprint)
