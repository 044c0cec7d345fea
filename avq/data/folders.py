"""Folders of images, and what else lies in a folder (torch-free)."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from avq.data.containers import Container, Entry, Unusable, fingerprint_of_files, read_within, why_ignored
from avq.errors import UsageError

#: Kinds of source by how the names of their files end; an image is told by `why_ignored`.
_ENDINGS = {
    "LMDB": ("/data.mdb",),
    "parquet": (".parquet",),
    "Arrow": (".arrow",),
    "tar": (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"),
    "zip": (".zip",),
}


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        folder: where.
        images: their paths relative to the folder, sorted.
        others: sources of other kinds, sorted, by kind: "LMDB", "parquet", "Arrow", "tar" or "zip".
        ignored: all other files, by suffix.
    """

    folder: Path
    images: list[str] = field(default_factory=list)
    others: dict[str, list[Path]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)

    def as_container(self) -> Container:
        """Its images."""

        def entries() -> Iterator[Entry]:
            return (Entry(name, partial(read_file, self.folder / name)) for name in self.images)

        files = fingerprint_of_files((self.folder / name for name in self.images), self.folder)
        return Container("folder", self.folder, files, len(self.images), entries, self.ignored)


def look_into(folder: Path, skip: str = "") -> Found:
    """What lies below a folder, through links too; each folder is entered once, and no hidden one.

    Args:
        folder: where to look.
        skip: files with this text in their path are ignored.

    Raises:
        UsageError: a folder cannot be read, or images lie beside a source of another kind.
    """
    found = Found(folder)
    for path in _files(folder, set()):
        name = path.relative_to(folder).as_posix()
        why = why_ignored(name, skip)
        kind = next((kind for kind, endings in _ENDINGS.items() if f"/{path.name.lower()}".endswith(endings)), "")
        if not why:
            found.images.append(name)
        elif kind and why not in ("hidden", skip):
            found.others.setdefault(kind, []).append(path)
        elif path.name != "lock.mdb":  # a part of an LMDB
            found.ignored[why] += 1
    found.images.sort()
    sources = {kind: files for kind, files in found.others.items() if kind not in ("tar", "zip")}
    if found.images:
        sources["image"] = [folder / name for name in found.images]
    if len(sources) > 1:
        held = " and ".join(f"{len(files):,} {kind} files in {_home(files)}" for kind, files in sources.items())
        raise UsageError(f"{folder} holds {held}: name the folder or file that is meant")
    if sources:  # archives beside it are no images of it
        found.ignored.update(why_ignored(path.name) for kind in ("tar", "zip") for path in found.others.pop(kind, ()))
    return found


def read_file(path: Path) -> bytes:
    """The bytes of one image file. Raises `Unusable` where it cannot be read."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise Unusable("not a regular file")
        with path.open("rb") as file:
            return read_within(file, state.st_size)
    except OSError as error:
        raise Unusable(error.strerror or str(error)) from error


def _files(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path]:
    """All files below a folder; of a hidden folder, itself."""
    try:
        state = folder.stat()
        inside = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"cannot read {folder}: {error.strerror or error}") from error
    if (state.st_dev, state.st_ino) in entered:  # a link in a circle
        return
    entered.add((state.st_dev, state.st_ino))
    for entry in inside:
        is_folder = entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))  # noqa: PTH112
        if is_folder and why_ignored(entry.name) != "hidden":
            yield from _files(folder / entry.name, entered)
        else:
            yield folder / entry.name


def _home(files: list[Path]) -> str:
    """The folder that holds all files."""
    return os.path.commonpath([file.parent for file in files])
