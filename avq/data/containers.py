"""What images come in: a folder, a zip, a tar, LMDBs in LSUN's layout, or parquet files (torch-free).

A container is only read: nothing is ever unpacked, so no name inside it can lead to a place outside, and links are
not followed. It gives its images as a stream of keys, with the bytes of each on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from avq.data.hashing import address_of_values
from avq.errors import UsageError

Kind = Literal["folder", "zip", "tar", "lmdb", "parquet"]
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class Unusable(Exception):
    """An image whose bytes cannot be had; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One image of a container.

    Attributes:
        key: its name there, such as a path below the folder.
        read: gives its bytes, once, before the next entry is asked for; raises `Unusable`.
    """

    key: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Container:
    """Images where they are.

    Attributes:
        kind: what it is.
        path: the absolute place.
        signature: changes whenever a file of it was changed, by name, size and times; nothing is read for it.
        count: how many images, where that is known beforehand.
        entries: begins a stream of all images, always in the same order.
    """

    kind: Kind
    path: Path
    signature: str
    count: int | None
    entries: Callable[[], Iterator[Entry]]


def is_image_name(name: str, skip: str = "") -> bool:
    """Whether a name is that of an image; hidden files and what archivers add beside them do not count."""
    path = PurePosixPath(name)
    if skip and skip in name:
        return False
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def image_files(folder: Path, skip: str = "") -> list[str]:
    """Every image file below a folder, by its path from there, in the order of the names."""
    names = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*"))
    return sorted(name for name, path in names if is_image_name(name, skip) and path.is_file())


def open_folder(folder: Path, names: list[str]) -> Container:
    """Image files of a folder, by their paths from there."""

    def entries() -> Iterator[Entry]:
        for name in names:
            yield Entry(name, lambda name=name: read_file(folder / name))  # type: ignore[misc]

    return Container("folder", folder, signature_of((folder / name for name in names), folder), len(names), entries)


def read_file(path: Path) -> bytes:
    """The bytes of one file.

    Raises:
        Unusable: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(error.strerror or str(error)) from error


def signature_of(files: Iterable[Path], base: Path) -> str:
    """Names, sizes and times of files: they change whenever a file is written, replaced or renamed."""
    states = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue  # whoever reads it will say so
        states.append((file.relative_to(base).as_posix(), state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return address_of_values(sorted(states))


def damaged(path: Path, how: str) -> UsageError:
    """The error for a container that cannot be read to its end."""
    return UsageError(f"{path} is damaged or was not fetched to its end ({how}). Delete it and fetch it again")
