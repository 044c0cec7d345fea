"""Files: written whole or not at all, read as JSON, held by one process at a time."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from avq.errors import AvqError


class DiskError(AvqError):
    """The store cannot be written to; no task can go on."""


def disk_error(path: Path, error: OSError) -> DiskError:
    """The one line for a disk that takes nothing more."""
    advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another --output"
    return DiskError(
        f"cannot write {path}: {error.strerror or error}; finished runs are untouched: {advice} "
        "and give the same command again."
    )


@contextmanager
def written_whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`, to be written in the block; moved to its place where the block ends well.

    Args:
        path: the place; its folder is made.
        durable: wait until the bytes are on the disk (fsync).

    Raises:
        OSError: as the disk says; what was there before is still there, and no temporary file is left.
    """
    aside = path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")  # the suffix is that of the format
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        if durable:
            with aside.open("rb") as file:
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):
            aside.unlink()


def write_atomic(path: Path, content: bytes | str, durable: bool = True) -> None:
    """Write a file of a store whole or not at all.

    Raises:
        DiskError: the disk is full or read-only; what was there before is still there.
    """
    try:
        with written_whole(path, durable) as aside:
            aside.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise disk_error(path, error) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any], durable: bool = True) -> None:
    """Write a JSON object as `write_atomic`."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", durable)


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file against other processes; yields False where another holds it.

    The lock belongs to the process, so that a killed one leaves none behind.

    Args:
        path: the lock file; it stays.
        wait: until the other process is done, rather than give False.

    Raises:
        DiskError: the file cannot be made, or its file system knows no locks.
    """
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise disk_error(path, error) from None
    try:
        yield True
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds that lock file."""
    if not path.exists():
        return False
    try:
        with held(path) as mine:
            return not mine
    except DiskError:
        return False
