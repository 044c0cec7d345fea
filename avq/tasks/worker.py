"""One run in one process, under its lock: trained, evaluated, recorded; a failure becomes its record.

What it needs is imported where it is used: a command's own process imports this module and no torch.
"""

from __future__ import annotations

import errno
import traceback
from contextlib import suppress
from pathlib import Path

from avq.errors import AvqError, Stopped
from avq.files import DiskError, disk_error, write_atomic
from avq.machine import machine_name
from avq.store.layout import Store, lock, write_progress
from avq.store.record import failed_record, is_failure
from avq.tasks.evaluate import evaluate_again
from avq.tasks.job import CHECKPOINT, Job, Outcome, prepare
from avq.tasks.train import is_whole, train_and_evaluate
from avq.training.config import STATE_FILE


def run_job(job: Job) -> Outcome:
    """Carry a run out, or go on with it, under its lock; a failure becomes its record."""
    store = Store(job.root)
    folder = store.folder(job.run)
    try:
        with lock(folder) as mine:
            return _locked(job, store, folder) if mine else Outcome("busy")
    except DiskError as error:
        return Outcome("disk", str(error))


def _locked(job: Job, store: Store, folder: Path) -> Outcome:
    try:
        if job.fresh:
            store.clear(job.run)
        record = store.record(job.run)
        finished = record is not None and not is_failure(record)
        if finished and job.measures.satisfied_by(folder):
            return Outcome("done", "reused")
        prepare(job)
        if finished and record is not None and is_whole(folder / CHECKPOINT):
            evaluate_again(job, store, folder, record)
        else:
            train_and_evaluate(job, store, folder)
    except DiskError:
        raise
    except Stopped as error:
        return Outcome("stopped", str(error))
    except AvqError as error:
        if _has_diverged(error):  # going on from the state would only meet the same step again
            with suppress(OSError):
                (folder / STATE_FILE).unlink(missing_ok=True)
        return fail(job, store, folder, str(error))
    except Exception as error:
        _raise_if_disk(folder, error)
        with suppress(DiskError):
            write_atomic(folder / "error.log", traceback.format_exc())
        return fail(job, store, folder, f"{type(error).__name__}: {error} (see {folder / 'error.log'})")
    return Outcome("done")


def fail(job: Job, store: Store, folder: Path, reason: str) -> Outcome:
    """Write a failed record, unless there is a finished one: then only its new evaluation failed, and it stays.

    A later command tries again whatever failed.
    """
    if store.finished(job.run):
        write_progress(folder, "done", reason=reason)
    else:
        store.write_record(folder, failed_record(job.run, reason, machine_name(job.device)))
        write_progress(folder, "failed", reason=reason)
    return Outcome("failed", reason)


def _has_diverged(error: AvqError) -> bool:
    from avq.training.diagnose import NonFiniteLoss

    return isinstance(error, NonFiniteLoss)


def _raise_if_disk(folder: Path, error: Exception) -> None:
    """Libraries wrap what the disk says in errors of their own."""
    full = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        raise disk_error(folder, error) from None
    for words, number in (("No space left", errno.ENOSPC), ("Read-only file system", errno.EROFS)):
        if words in str(error):
            raise disk_error(folder, OSError(number, words)) from None
