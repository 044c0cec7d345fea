from __future__ import annotations

import sys
from pathlib import Path

from avq.experiments.job import Job, Measures
from avq.experiments.plan import Run

# Worker processes import the fakes by name.
sys.path.insert(0, str(Path(__file__).parent))


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
