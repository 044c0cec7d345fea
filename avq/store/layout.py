"""The store: a folder a run, a folder an experiment; everything in it appears whole or not at all.

<root>/runs/<run>/          config.json environment.json checkpoint.safetensors log.csv
                            per_image.parquet evaluation.json progress.json record.csv (last)
                            tensorboard/ (where asked)
<root>/experiments/<name>/  plan.json table.csv
<root>/costs/               what the quiet pass and the predictions measured, by content
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.errors import AvqError, UsageError
from avq.files import disk_error, held, is_held, read_json, write_atomic, write_json
from avq.store.record import is_failure, read_records, to_csv

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.design.plan import Run


class Store:
    """A folder of runs and experiments. Many commands may use one store at the same time."""

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

    def folder(self, run: Run) -> Path:
        """The run's folder; one made under another variant's name serves a run of the same content."""
        return self.named(run.name)

    def named(self, name: str) -> Path:
        """The folder of the run of that name, as `folder`."""
        own = self.runs / name
        if own.is_dir():
            return own
        same = sorted(self.runs.glob(f"*-{name.rpartition('-')[2]}"))
        return same[0] if same else own

    def record(self, run: Run) -> DataFrame | None:
        """The run's finished record (a failed one too); None where there is none, or none that is whole."""
        path = self.folder(run) / "record.csv"
        try:
            return read_records(path) if path.exists() else None
        except UsageError:
            return None  # damaged from outside: made again, from log and checkpoint where these are whole

    def finished(self, run: Run) -> bool:
        """Whether the run has a whole record that is not a failure's."""
        record = self.record(run)
        return record is not None and not is_failure(record)

    def other_codes(self, run: Run) -> list[Path]:
        """Folders of finished runs with the same configuration, trained by other code; newest first."""
        found = []
        for path in self.runs.glob("*/record.csv"):
            config = read_json(path.parent / "config.json")
            if config.get("config_id") == run.config_id and config.get("code") != run.code:
                with suppress(AvqError):  # a damaged record is nobody's
                    if not is_failure(read_records(path)):
                        found.append(path)
        return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]

    def write_record(self, folder: Path, record: DataFrame) -> None:
        """Put the record in its place: from then on the run is finished."""
        write_atomic(folder / "record.csv", to_csv(record))

    def clear(self, run: Run) -> None:
        """Forget what a run left, so that it is trained afresh (the lock stays)."""
        for path in self.folder(run).iterdir() if self.folder(run).is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink(missing_ok=True)


@contextmanager
def lock(folder: Path) -> Iterator[bool]:
    """Hold a run's folder against other commands; gives False where another holds it."""
    with held(folder / "lock") as mine:
        yield mine


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in a run's folder."""
    return is_held(folder / "lock")


def write_progress(folder: Path, state: str, **more: Any) -> None:
    """Say in a run's progress.json what is going on with it; `status` and bars read it."""
    write_json(folder / "progress.json", {"state": state, "updated": time.time(), **more}, durable=False)
