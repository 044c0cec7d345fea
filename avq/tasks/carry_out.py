"""A task in one process, under its lock, after those of its ancestors that are not finished; a failure is recorded.

What it needs is imported where it is used: a command's own process imports this module and no torch.
"""

from __future__ import annotations

import errno
import importlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from avq.design.run import Run
from avq.design.task import Task
from avq.errors import AvqError, Stopped
from avq.files import DiskError, disk_error, write_atomic
from avq.store.layout import Store, has_locked_children, lock, write_progress
from avq.store.record import is_failure
from avq.tasks.job import Job, Outcome, prepare

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS = {"train": "avq.tasks.train", "evaluate": "avq.tasks.evaluate", "costs": "avq.tasks.cost"}
"""The module of each kind: its `carry_out(job, store, folder)` returns a task and its record: the job's own task, or
what its results are of together with those that were there; its `failed(job, reason)` the same of a failure."""


class ParentLost(AvqError):
    """What the parent left is damaged: it has to be made again."""


def run_task(job: Job) -> Outcome:
    """Carry out a job's task, or go on with it, after its ancestors; a failure becomes the record of what failed."""
    try:
        try:
            return _after_ancestors(job)
        except ParentLost:
            return _after_ancestors(replace(job, fresh=False))
    except ParentLost as error:
        return fail(job, f"{error}, and was so again when it had been made anew")
    except DiskError as error:
        return Outcome("disk", str(error))


def _after_ancestors(job: Job) -> Outcome:
    store, reused = Store(job.root), []
    for task in lineage(job.task):
        outcome = _under_lock(replace(job, task=task), store)
        if outcome.kind != "done":
            return outcome
        reused.append(bool(outcome.text))
    if all(reused):
        return Outcome("done", "reused")
    _write_done(job, store)
    return Outcome("done", "trained before, measured now" if reused[0] and len(reused) > 1 else "")


def lineage(task: Task) -> Iterator[Task]:
    """The task's ancestors, oldest first, and the task itself."""
    for parent in task.parents:
        yield from lineage(parent)
    yield task


def fail(job: Job, reason: str) -> Outcome:
    """Record for a process that could not do so that its task, or one before it, failed.

    `busy` where another process has it by now.
    """
    store = Store(job.root)
    task = next((task for task in lineage(job.task) if not store.finished(task)), job.task)
    with lock(store.folder(task)) as mine:
        return _fail(replace(job, task=task), store, reason) if mine else Outcome("busy")


def _under_lock(job: Job, store: Store) -> Outcome:
    folder = store.folder(job.task)
    with lock(folder) as mine:
        if not mine:
            return Outcome("busy")
        if job.fresh:
            if has_locked_children(folder):
                return Outcome("busy")
            store.clear(job.task)
        return Outcome("done", "reused") if store.finished(job.task) else _carried_out(job, store, folder)


def _carried_out(job: Job, store: Store, folder: Path) -> Outcome:
    try:
        prepare(job)
        carry_out = cast("Callable[[Job, Store, Path], tuple[Task, DataFrame]]", _module(job).carry_out)
        store.write_record(*carry_out(job, store, folder))
    except (DiskError, ParentLost):
        raise
    except Stopped as error:
        return Outcome("stopped", str(error))
    except AvqError as error:
        return _fail(job, store, str(error))
    except Exception as error:
        _raise_if_disk(folder, error)
        with suppress(DiskError):
            write_atomic(folder / "error.log", traceback.format_exc())
        return _fail(job, store, f"{type(error).__name__}: {error} (see {folder / 'error.log'})")
    return Outcome("done")


def _fail(job: Job, store: Store, reason: str) -> Outcome:
    """Write a failed record, unless there is a finished one: then only its renewal failed, and it stays.

    A later command tries again whatever failed.
    """
    record = store.record(job.task)
    stays = record is not None and not is_failure(record)
    if not stays:
        store.write_record(*_module(job).failed(job, " ".join(reason.split())))
    if isinstance(job.task.origin, Run):
        write_progress(store.folder(job.run), "done" if stays else "failed", reason=reason)
    return Outcome("failed", reason)


def _module(job: Job) -> Any:
    return importlib.import_module(KINDS[job.task.kind])


def _write_done(job: Job, store: Store) -> None:
    if isinstance(job.task.origin, Run):
        steps = job.run.train["steps"]
        write_progress(store.folder(job.run), "done", steps=steps, step=steps)


def _raise_if_disk(folder: Path, error: Exception) -> None:
    """Libraries wrap what the disk says in errors of their own."""
    full = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        raise disk_error(folder, error) from None
    for words, number in (("No space left", errno.ENOSPC), ("Read-only file system", errno.EROFS)):
        if words in str(error):
            raise disk_error(folder, OSError(number, words)) from None
