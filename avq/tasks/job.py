"""A task and where and with what it is carried out: what a command hands to a process. Torch-free until used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from avq.data.cards import ENVIRONMENT_VARIABLE as CARDS
from avq.data.cards import named_folders
from avq.data.roots import ENVIRONMENT_VARIABLE as DATA
from avq.design.run import Run, run_of
from avq.design.task import Task
from avq.metrics.weights import ENVIRONMENT_VARIABLE as WEIGHTS
from avq.plugins import load_plugin


@dataclass(frozen=True)
class Job:
    """A task and where it is to be carried out.

    Attributes:
        root: the store's folder.
        workers: how many runs the command carries out at once: they slow one another.
        environment: variables that the user set for the command: a process does not see them otherwise.
        fresh: forget what is there.
        tensorboard: write the log, and pictures, for TensorBoard too.
        stop_at: when a training is to stop, in seconds since the epoch.
    """

    task: Task
    root: Path
    data_root: Path | None
    device: str
    plugins: tuple[str, ...] = ()
    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    tensorboard: bool = False
    stop_at: float | None = None

    @property
    def run(self) -> Run:
        """The run that the task is of."""
        return run_of(self.task)

    @property
    def name(self) -> str:
        """What the job is called: the run's name."""
        return self.run.name


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `busy`: another command has the task; `disk`: nothing can be written; `stopped`: at its time."""

    kind: Literal["done", "busy", "failed", "disk", "stopped"]
    text: str = ""


def environment_now() -> dict[str, str]:
    """The variables that a process must have too; paths absolute, empty for one that is not set."""
    paths = {name: os.environ.get(name) for name in (DATA, WEIGHTS)}
    found = {name: str(Path(path).absolute()) if path else "" for name, path in paths.items()}
    return found | {CARDS: os.pathsep.join(str(folder.absolute()) for folder in named_folders())}


def prepare(job: Job) -> None:
    """In the job's process: set the command's environment, and import the modules that register its parts."""
    os.environ.update(job.environment)
    for plugin in job.plugins:
        load_plugin(plugin)
