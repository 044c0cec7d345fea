"""Small runs and jobs for tests."""

from __future__ import annotations

from pathlib import Path

from avq.design.plan import Run
from avq.tasks.job import Job, Measures


def make_run(variant: str = "aren-1", seed: int = 0, code: str = "c0de", **train: object) -> Run:
    return Run(
        variant=variant,
        factory=None,
        model={"trunk": "aren", "name": variant},
        data={"dataset": "synthetic-faces", "image_size": 32},
        fingerprint="f" * 16,
        train={"steps": 5, "batch_size": 4, "precision": "float32", **train},
        seed=seed,
        code=code,
    )


def make_job(root: Path, run: Run, fresh: bool = False) -> Job:
    return Job(run, root, None, "cpu", Measures("e" * 16), fresh=fresh)


ROWS = ["aren-1", "patch-kmeans"]
TINY = {"steps": 3, "batch_size": 4, "width": 4, "dim": 8, "num_codes": 8, "train_images": 16,
        "validation_images": 8, "test_images": 8, "validate_every": 2}  # fmt: skip
