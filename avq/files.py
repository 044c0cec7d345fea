"""Files: written completely or not at all, read as JSON whose checksum is right, locked by one process at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from avq.errors import AvqError

_CHECKSUM = "checksum"  # in a JSON file: sha256 of the rest


class DiskError(AvqError):
    """The store cannot be written to; no task can continue."""


def disk_error(path: Path, error: OSError) -> DiskError:
    """The error for a disk that is full or cannot be written to."""
    advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another --output"
    return DiskError(
        f"cannot write {path}: {error.strerror or error}; finished runs are untouched: {advice} "
        "and give the same command again."
    )


@contextmanager
def written_whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`, to be written in the block; renamed to `path` if the block succeeds.

    Its folder is made; `durable` waits until the bytes are on the disk (fsync).

    Raises:
        OSError: from the disk; the previous file is unchanged, and no temporary one is left.
    """
    aside = path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")  # the suffix may decide the format
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
    """Write a file of a store completely or not at all.

    Raises:
        DiskError: the disk is full or read-only; the previous file is unchanged.
    """
    try:
        with written_whole(path, durable) as aside:
            aside.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise disk_error(path, error) from None


def read_json(path: Path, checked: bool = False) -> dict[str, Any]:
    """A JSON object from a file; empty where the file is missing, damaged, or not what its checksum says.

    Args:
        path: a file that `write_json` wrote, or that has no checksum, such as those of the first release.
        checked: take none without a checksum.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    checksum = value.pop(_CHECKSUM, None)
    whole = checksum == sha256_of(_json(value)) or (checksum is None and not checked)
    return value if whole else {}


def write_json(path: Path, value: dict[str, Any], durable: bool = True) -> None:
    """Write a JSON object, and its checksum in it, as `write_atomic`."""
    write_atomic(path, json_text(value), durable)


def json_text(value: dict[str, Any]) -> str:
    """What `write_json` writes."""
    plain = json.loads(_json(value))
    return _json(plain | {_CHECKSUM: sha256_of(_json(plain))}) + "\n"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str)


def sha256_of(content: bytes | str) -> str:
    """All 64 digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file against other processes; False where another process holds it, unless `wait`.

    The file stays, but the lock belongs to the process: a killed one leaves no lock behind.

    Raises:
        DiskError: the file cannot be made, or its file system has no locks.
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
