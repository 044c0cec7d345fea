"""The store: a folder a task, a folder an experiment; everything in it appears whole or not at all.

<root>/runs/<run>/                  task.json environment.json checkpoint.safetensors log.csv progress.json
                                    tensorboard/ (where asked) record.csv (last)
<root>/runs/<run>/evaluation-test/  task.json per_image.parquet record.csv
<root>/costs/<task>/                task.json record.csv or result.json: costs, forecasts, points of `scale`
<root>/experiments/<name>/          plan.json environment.json table.csv
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.design.run import Evaluation, Run
from avq.errors import UsageError
from avq.files import disk_error, held, is_held, read_json, write_atomic, write_json
from avq.store.read_run import run_at
from avq.store.record import is_failure, read_records, to_csv

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.design.task import Task

RECORD, TASK, RESULT = "record.csv", "task.json", "result.json"
LOG = "log.csv"  # the points of a training's validation curve


class Store:
    """A folder of tasks and experiments. Many commands may use one store at the same time."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.runs = self.root / "runs"
        self.experiments = self.root / "experiments"
        self.costs = self.root / "costs"

    def prepare(self) -> None:
        """Make the folders; DiskError where that is impossible, before anything is spent."""
        try:
            for folder in (self.runs, self.experiments, self.costs):
                folder.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                write_atomic(ignore, "*\n")
            with tempfile.TemporaryFile(dir=self.runs) as probe:
                probe.write(b"the disk takes something")
        except OSError as error:
            raise disk_error(self.root, error) from None

    def folder(self, task: Task) -> Path:
        """The task's folder: inside that of its first parent, or beside those of its kind.

        One that was made under another variant's name serves a task of the same content.
        """
        if task.parents:
            return self.folder(task.parents[0]) / task.name
        return _named(self.runs if isinstance(task, Run) else self.costs, task.name)

    def named(self, name: str) -> Path:
        """The folder of the run of that name, as `folder`."""
        return _named(self.runs, name)

    def describe(self, task: Task) -> dict[str, Any]:
        """The task.json of what lies at a task's place; empty where nothing does."""
        folder = self.folder(task)
        described = read_json(folder / TASK)
        if not described and isinstance(task, Run) and (run := run_at(folder)) is not None:
            return run.describe()
        return described

    def record(self, task: Task) -> DataFrame | None:
        """The task's finished record (a failed one too); None where there is none, or none that is whole."""
        path = self.folder(task) / RECORD
        try:
            if path.exists():
                return _of_training(read_records(path)) if isinstance(task, Run) else read_records(path)
            if isinstance(task, Evaluation) and not (path.parent / TASK).exists():  # as the first release had it
                frame = read_records(path.parent.parent / RECORD)
                frame = frame[(frame["split"] == "test") & (frame["status"] != "failed")]
                return frame if len(frame) else None
        except UsageError:
            pass  # damaged from outside: made again from what is whole
        return None

    def result(self, task: Task) -> dict[str, Any]:
        """What a task gave that is no record; empty where there is none."""
        return read_json(self.folder(task) / RESULT)

    def finished(self, task: Task) -> bool:
        """Whether a task's results are there, whole, and no failure's."""
        if not task.covered_by(self.describe(task)):
            return False
        if self.result(task):
            return True
        record = self.record(task)
        return record is not None and not is_failure(record)

    def results(self, run: Run) -> DataFrame | None:
        """A run's record and its evaluation's; the failure alone where one failed; None where one is missing."""
        import pandas as pd

        trained, measured = self.record(run), self.record(Evaluation(run, {}, ""))
        for record in (trained, measured):
            if record is None or is_failure(record):
                return record
        assert trained is not None
        return pd.concat([trained, measured], ignore_index=True)

    def other_codes(self, run: Run) -> list[Run]:
        """Finished runs with the same content, trained by other code; newest first."""
        same = [other for other in self._by_content.get(run.content_fingerprint, ()) if other.code != run.code]
        found = [other for other in same if self.finished(other)]
        return sorted(found, key=lambda other: (self.folder(other) / RECORD).stat().st_mtime, reverse=True)

    @cached_property
    def _by_content(self) -> dict[str, list[Run]]:
        runs: dict[str, list[Run]] = {}
        for path in self.runs.glob(f"*/{RECORD}"):
            if (run := run_at(path.parent)) is not None:
                runs.setdefault(run.content_fingerprint, []).append(run)
        return runs

    def write_record(self, task: Task, record: DataFrame) -> None:
        """Put a record in its place, with what it is of: from then on the task is finished."""
        folder = self.folder(task)
        (folder / RECORD).unlink(missing_ok=True)  # a new task.json must never stand beside an old record
        write_json(folder / TASK, task.describe())
        write_atomic(folder / RECORD, to_csv(record))

    def write_result(self, task: Task, result: dict[str, Any]) -> None:
        """As `write_record`, for what is no record."""
        folder = self.folder(task)
        (folder / RESULT).unlink(missing_ok=True)
        write_json(folder / TASK, task.describe())
        write_json(folder / RESULT, result)

    def clear(self, task: Task) -> None:
        """Forget what a task left, so that it is done afresh (the lock stays)."""
        for path in self.folder(task).iterdir() if self.folder(task).is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink(missing_ok=True)


def _named(folder: Path, name: str) -> Path:
    own = folder / name
    if own.is_dir():
        return own
    same = sorted(folder.glob(f"*-{name.rpartition('-')[2]}"))
    return same[0] if same else own


def _of_training(record: DataFrame) -> DataFrame:
    """A run's own rows: the first release had those of its evaluation beside them."""
    return record if is_failure(record) else record[record["split"] != "test"]


def forget_children(folder: Path) -> None:
    """Remove what was made of a task's earlier results."""
    for path in folder.glob(f"*/{TASK}"):
        shutil.rmtree(path.parent)


@contextmanager
def lock(folder: Path) -> Iterator[bool]:
    """Hold a task's folder against other commands; yields False where another holds it."""
    with held(folder / "lock") as mine:
        yield mine


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in a run's folder, or on what is made of the run."""
    return is_held(folder / "lock") or has_locked_children(folder)


def has_locked_children(folder: Path) -> bool:
    """Whether a process is at work on what is made of a task's results."""
    return any(is_held(path) for path in folder.glob("*/lock"))


def write_progress(folder: Path, state: str, **more: Any) -> None:
    """Say in a run's progress.json what is going on with it; `status` and bars read it."""
    write_json(folder / "progress.json", {"state": state, "updated": time.time(), **more}, durable=False)
