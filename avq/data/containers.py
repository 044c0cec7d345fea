"""What images come in: a folder, a zip, tars, LMDBs in LSUN's layout, parquet or Arrow files (torch-free).

A container is only read. Nothing is unpacked, so no name inside it can lead to a place outside, and links in archives
are not followed. Its images come as a stream of keys, with the bytes of each on demand. Whatever is damaged is an entry
that cannot be read, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NoReturn

from avq.data.decode import MOST_BYTES, suffixes
from avq.data.hashing import fingerprint_of_values
from avq.errors import UsageError, reason_of

Kind = Literal["folder", "zip", "tar", "lmdb", "parquet", "arrow"]
LISTED = 5
"""Of what may be endless, so many are named."""
_MADE_BY_SYSTEMS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN"})


class Unusable(Exception):
    """An image whose bytes cannot be read; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One image of a container.

    Attributes:
        key: its name there, such as a path below the folder.
        read: returns its bytes, once, before the next entry is asked for; raises anything where they are damaged.
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
        ignored: files that are no images, by suffix; complete after the last entry.
    """

    kind: Kind
    path: Path
    fingerprint: str
    count: int | None
    entries: Callable[[], Iterator[Entry]]
    ignored: Counter[str] = field(default_factory=Counter)


def sampled(container: Container, images: int, seed: int) -> Container:
    """So many images of a container, or all if it has no more: those whose keys hash lowest with a seed."""

    def place(key: str) -> bytes:
        return hashlib.sha256(f"{seed} {key}".encode(errors="surrogateescape")).digest()

    seen = count()
    keys = (entry.key for entry, _ in zip(container.entries(), seen, strict=False))
    chosen = set(heapq.nsmallest(images, keys, key=place))
    left = next(seen) - len(chosen)
    return replace(
        container,
        fingerprint=fingerprint_of_values([container.fingerprint, images, seed]),
        count=len(chosen),
        entries=lambda: (entry for entry in container.entries() if entry.key in chosen),
        ignored=container.ignored + Counter({"not in the sample": left}),
    )


def why_ignored(name: str, skip: str = "") -> str:
    """Why a file does not count as an image: "hidden", the text to skip, or its suffix; empty for an image."""
    path = PurePosixPath(name.replace("\\", "/"))
    if any((part.startswith(".") and part != "..") or part in _MADE_BY_SYSTEMS for part in path.parts):
        return "hidden"
    if skip and skip in name:
        return skip
    suffix = path.suffix.lower()
    return "" if suffix in suffixes() else suffix or "without suffix"


def in_words(counts: Mapping[str, int]) -> str:
    """Counts such as "3 .txt, 2 hidden", the largest first."""
    first = Counter(counts).most_common(LISTED)
    rest = sum(counts.values()) - sum(number for _, number in first)
    return ", ".join([f"{number:,} {what}" for what, number in first] + [f"{rest:,} others"] * bool(rest))


def unless_damaged(what: str, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries of a container, or of a part of it; damage between two of them is one more, which cannot be read."""
    found = 0
    try:
        for entry in entries:
            yield entry
            found += 1
    except Exception as error:  # the readers of all formats raise anything on damaged bytes
        yield unreadable(f"{what} after {found:,} images", error)


def unreadable(key: str, error: Exception) -> Entry:
    """An entry that stands for what could not be read."""
    return Entry(key, partial(_refuse, f"damaged or incomplete ({reason_of(error)})"))


def _refuse(reason: str) -> NoReturn:
    raise Unusable(reason)


def read_within(file: IO[bytes], size: int) -> bytes:
    """All bytes of an image; a header may understate their number, and a small archive may expand without end."""
    data = b"" if size > MOST_BYTES else file.read(MOST_BYTES + 1)
    if max(size, len(data)) > MOST_BYTES:
        raise Unusable(f"more than {MOST_BYTES:,} bytes, which no image needs")
    return data


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


def damaged(path: Path, error: Exception) -> UsageError:
    """The error for a container that cannot be opened."""
    return UsageError(f"{path} is damaged or incomplete ({reason_of(error)}). Delete it and fetch it again")
