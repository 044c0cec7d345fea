"""The store: a folder a task, a folder an experiment; everything in it appears whole or not at all.

What was damaged or moved since is as good as absent. A task.json and a plan.json hold their own checksum and those of
the files beside them, and a task.json names its task; a record of the first release names its run, whose config.json
holds hashes of itself.

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

from avq.data.hashing import sha256_of_file
from avq.design.run import Evaluation, Run
from avq.errors import AvqError, UsageError
from avq.files import disk_error, held, is_held, json_text, read_json, sha256_of, write_atomic, write_json
from avq.store.read_run import run_at
from avq.store.record import is_failure, read_records, to_csv
from avq.training.config import CHECKPOINT_FILE

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.design.task import Task

RECORD, TASK, RESULT = "record.csv", "task.json", "result.json"
LOG = "log.csv"  # the points of a training's validation curve
PER_IMAGE = "per_image.parquet"


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

    def run(self, name: str) -> Run | None:
        """The run of that name, as its folder describes it; None where there is none, or where another's lies there."""
        run = run_at(self.named(name))
        return run if run is not None and _digits(run.name) == _digits(name) else None

    def describe(self, task: Task) -> dict[str, Any]:
        """The task.json of what lies at a task's place; empty where nothing does, or what is damaged or another's."""
        folder = self.folder(task)
        described = read_json(folder / TASK, checked=True)
        if isinstance(task, Run) and not (folder / TASK).exists() and (run := run_at(folder)) is not None:
            described = run.describe()  # of the first release
        if task.grows:
            parents = map(_digits, described.get("parents", []))
            return described if [*parents] == [_digits(parent.name) for parent in task.parents] else {}
        return described if described.get("fingerprint") == task.fingerprint else {}

    def record(self, task: Task) -> DataFrame | None:
        """The task's finished record (a failed one too); None where there is none, or none that is whole."""
        if isinstance(task, Evaluation) and not (self.folder(task) / TASK).exists():
            frame = self._read(task.run)  # the first release had it in the run's record
            if frame is not None:
                frame = frame[(frame["split"] == "test") & (frame["status"] != "failed")]
            return frame if frame is not None and len(frame) else None
        frame = self._read(task)
        if frame is None or not isinstance(task, Run) or is_failure(frame):
            return frame
        return frame[frame["split"] != "test"]

    def _read(self, task: Task) -> DataFrame | None:
        """What record.csv holds, if it is whole and the task's own."""
        folder, first_release = self.folder(task), not (self.folder(task) / TASK).exists()
        if not (self._holds(task, RECORD) or (first_release and self.describe(task))):
            return None
        try:
            frame = read_records(folder / RECORD)
        except AvqError:
            return None
        return frame if not first_release or set(frame["run"]) == {folder.name} else None

    def result(self, task: Task) -> dict[str, Any]:
        """What a task gave that is no record; empty where there is none that is whole."""
        return read_json(self.folder(task) / RESULT, checked=True) if self._holds(task, RESULT) else {}

    def _holds(self, task: Task, name: str) -> bool:
        """Whether the task has left a file of that name, and it is as it was written."""
        known = self.describe(task).get("files", {})
        return name in known and _is(self.folder(task) / name, known[name])

    def finished(self, task: Task) -> bool:
        """Whether a task's results are there, whole, and no failure's."""
        described = self.describe(task)
        if not task.covered_by(described):
            return False
        known = described.get("files", {})
        if PER_IMAGE in known and not _is(self.folder(task) / PER_IMAGE, known[PER_IMAGE]):
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
        self._write(task, RECORD, to_csv(record))

    def write_result(self, task: Task, result: dict[str, Any]) -> None:
        """As `write_record`, for what is no record."""
        self._write(task, RESULT, json_text(result))

    def _write(self, task: Task, name: str, text: str) -> None:
        folder = self.folder(task)
        (folder / name).unlink(missing_ok=True)  # a new task.json must never stand beside old results
        there = [path for path in (folder / beside for beside in (LOG, PER_IMAGE, CHECKPOINT_FILE)) if path.exists()]
        files = {path.name: sha256_of_file(path) for path in there} | {name: sha256_of(text)}
        write_json(folder / TASK, task.describe() | {"files": files})
        write_atomic(folder / name, text)

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
    same = sorted(folder.glob(f"*-{_digits(name)}"))
    return same[0] if same else own


def _digits(name: str) -> str:
    """What tells a task's folder from others, whatever its variant is called."""
    return name.rpartition("-")[2]


def is_as_written(path: Path) -> bool:
    """Whether a file in a task's folder is what the task.json there says of it; True where that says nothing of it."""
    known = read_json(path.with_name(TASK), checked=True).get("files", {})
    return path.name not in known or _is(path, known[path.name])


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_of_file(path) == sha256
    except UsageError:
        return False


def forget_children(folder: Path) -> None:
    """Remove what was made of a task's earlier results."""
    for path in folder.glob("evaluation-*"):
        shutil.rmtree(path)


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


def read_progress(folder: Path) -> dict[str, Any]:
    """A run's progress.json; empty where there is none that is whole."""
    return read_json(folder / "progress.json", checked=True)


def write_progress(folder: Path, state: str, **more: Any) -> None:
    """Say in a run's progress.json what is going on with it; `status` and bars read it."""
    write_json(folder / "progress.json", {"state": state, "updated": time.time(), **more}, durable=False)
