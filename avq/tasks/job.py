"""A run and where and with what it is carried out: what a command hands to a process. Torch-free until used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avq.design.code_hash import code_of_evaluation
from avq.files import read_json
from avq.metrics.weights import ENVIRONMENT_VARIABLE, available
from avq.store.layout import Store
from avq.training.config import CHECKPOINT_FILE

if TYPE_CHECKING:
    from avq.design.plan import Run

CHECKPOINT, LOG, RECORD = CHECKPOINT_FILE, "log.csv", "record.csv"


@dataclass(frozen=True)
class Measures:
    """What a run is measured with.

    Attributes:
        code: hash of the code that measures, as the command saw it.
        weights: names of the networks' weights that metrics find.
        allow_small: give Fréchet distances of fewer images than they need, and mark them.
    """

    code: str
    weights: tuple[str, ...] = ()
    allow_small: bool = False

    def satisfied_by(self, folder: Path) -> bool:
        """Whether a run's measurements lack nothing of this; they may hold more, such as weights now out of reach."""
        made = read_json(folder / "evaluation.json")
        there = set(self.weights) <= set(made.get("weights", ()))
        return made.get("code") == self.code and there and made.get("allow_small", False) >= self.allow_small


@dataclass(frozen=True)
class Job:
    """A run and where it is to be carried out.

    Attributes:
        root: the store's folder.
        measures: what it is measured with.
        workers: how many runs the command carries out at once: they slow one another.
        weights_dir: folder that the user named for weights: a process does not see the command's environment.
        fresh: forget what is there.
        tensorboard: write what the log tells, and pictures, for TensorBoard too.
        stop_at: when a training is to stop, in seconds since the epoch.
    """

    run: Run
    root: Path
    data_root: Path | None
    device: str
    measures: Measures
    plugins: tuple[str, ...] = ()
    workers: int = 1
    weights_dir: Path | None = None
    fresh: bool = False
    tensorboard: bool = False
    stop_at: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `busy`: another command has the run; `disk`: nothing can be written; `stopped`: at its time."""

    kind: Literal["done", "busy", "failed", "disk", "stopped"]
    text: str = ""


def measures_now(allow_small: bool = False) -> Measures:
    """What this command measures with."""
    return Measures(code_of_evaluation(), available(), allow_small)


def is_finished(store: Store, run: Run, measures: Measures) -> bool:
    """Whether there is nothing left to do for a run: it did not fail, and its metrics lack nothing."""
    return store.finished(run) and measures.satisfied_by(store.folder(run))


def is_trained(store: Store, run: Run) -> bool:
    """Whether a run is finished and has a checkpoint, so that new metrics need no training."""
    return store.finished(run) and (store.folder(run) / CHECKPOINT).exists()


def prepare(job: Job) -> None:
    """In the job's process: import the modules that register its variants, and name the folder of weights."""
    from avq.plugins import load_plugin

    if job.weights_dir is not None:
        os.environ[ENVIRONMENT_VARIABLE] = str(job.weights_dir)
    for plugin in job.plugins:
        load_plugin(plugin)


def build_model(run: Run) -> Any:
    """The run's model, initialised by its seed."""
    import torch

    from avq.models.build import build
    from avq.models.recipe import Recipe
    from avq.training.seeds import derive_seed

    torch.manual_seed(derive_seed(run.seed, "initialisation"))
    return build(Recipe(run.variant, run.image_size, dict(run.model), run.factory))
