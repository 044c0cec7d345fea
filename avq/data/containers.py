"""What images come in: a folder, a zip, a tar, LMDBs in LSUN's layout, or parquet files (torch-free).

A container is only read. Nothing is unpacked, so no name inside it can lead to a place outside, and links are not
followed. Its images come as a stream of keys, with the bytes of each on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from avq.data.hashing import fingerprint_of_values
from avq.errors import UsageError

Kind = Literal["folder", "zip", "tar", "lmdb", "parquet"]
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class Unusable(Exception):
    """An image whose bytes cannot be read; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One image of a container.

    Attributes:
        key: its name there, such as a path below the folder.
        read: returns its bytes, once, before the next entry is asked for; raises `Unusable`.
    """

    key: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Container:
    """Images where they are.

    Attributes:
        path: absolute.
        fingerprint: changes with the name, size or times of any file; no file is read for it.
        count: the number of images, where it is known beforehand.
        entries: begins a stream of all images, always in the same order.
    """

    kind: Kind
    path: Path
    fingerprint: str
    count: int | None
    entries: Callable[[], Iterator[Entry]]


def is_image_name(name: str, skip: str = "") -> bool:
    """Whether a name is that of an image; hidden files and what archivers add beside them do not count."""
    path = PurePosixPath(name)
    if skip and skip in name:
        return False
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def image_files(folder: Path, skip: str = "") -> list[str]:
    """The paths of all image files below a folder, relative to it, sorted."""
    names = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*"))
    return sorted(name for name, path in names if is_image_name(name, skip) and path.is_file())


def open_folder(folder: Path, names: list[str]) -> Container:
    """Image files of a folder, by their paths relative to it."""

    def entries() -> Iterator[Entry]:
        return (Entry(name, partial(read_file, folder / name)) for name in names)

    files = fingerprint_of_files((folder / name for name in names), folder)
    return Container("folder", folder, files, len(names), entries)


def read_file(path: Path) -> bytes:
    """The bytes of one file. Raises `Unusable` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(error.strerror or str(error)) from error


def fingerprint_of_files(files: Iterable[Path], base: Path) -> str:
    """The fingerprint of names, sizes and times: it changes when a file is written, replaced or renamed."""
    states = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue  # reported when it is read
        states.append((file.relative_to(base).as_posix(), state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return fingerprint_of_values(sorted(states))


def damaged(path: Path, how: str) -> UsageError:
    """The error for a container that cannot be read to its end."""
    return UsageError(f"{path} is damaged or incomplete ({how}). Delete it and fetch it again")
