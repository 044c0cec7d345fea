"""Images in zip and tar archives, read as streams (torch-free)."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from avq.data.containers import (
    Container,
    Entry,
    Unusable,
    damaged,
    fingerprint_of_files,
    read_within,
    unless_damaged,
    why_ignored,
)
from avq.errors import UsageError

_LINK = "a link, and links in archives are not followed"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# Headers with a text behind them, which tarfile reads at once, however long it says it is.
_TEXTS = (b"x", b"g", b"X", b"L", b"K")
_LONGEST_TEXT = 2**20


def open_archive(path: Path, start: bytes, skip: str) -> Container | None:
    """A zip, or a tar compressed by gzip, bzip2, xz, Zstandard or not at all; None for any other file.

    Raises:
        UsageError: a zip is damaged or incomplete, or contains no image; of a tar, this is raised while it is read.
    """
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) or zipfile.is_zipfile(path):
        return _open_zip(path, skip)
    with suppress(Exception), _opened(path):  # it may not be a tar at all
        return open_tars(path, [path], skip)
    return None


def _open_zip(path: Path, skip: str) -> Container:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except Exception as error:
        raise damaged(path, error) from error
    if any(Path(info.filename).name == "data.mdb" for info in members):
        raise UsageError(f"{path} holds an LMDB, which cannot be read inside a zip: unzip it and name the folder")
    ignored = Counter(filter(None, (why_ignored(info.filename, skip) for info in members)))
    members = [info for info in members if not why_ignored(info.filename, skip)]
    if not members:
        raise UsageError(f"{path} holds no image")
    members.sort(key=lambda info: (info.filename, info.header_offset))

    def entries() -> Iterator[Entry]:
        with zipfile.ZipFile(path) as archive:
            for info in members:
                yield Entry(info.filename, partial(_read_zipped, archive, info))

    files = fingerprint_of_files([path], path.parent)
    return Container("zip", path, files, len(members), lambda: unless_damaged(path.name, entries()), ignored)


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Unusable(_LINK)
    with archive.open(info) as file:
        return read_within(file, info.file_size)


def open_tars(path: Path, files: list[Path], skip: str, beside: Mapping[str, int] | None = None) -> Container:
    """A tar, or the tars of a folder (the shards of WebDataset), one after the other; `beside` lie files to ignore."""
    base, ignored = path if path.is_dir() else path.parent, Counter[str]()

    def entries() -> Iterator[Entry]:
        ignored.clear()
        ignored.update(beside or {})
        found = 0
        for file in files:
            name = file.relative_to(base).as_posix()
            for entry in unless_damaged(name, _members(file, skip, ignored)):
                found += 1
                yield entry if file == path else Entry(f"{name}/{entry.key}", entry.read)
        if not found:
            raise UsageError(f"{path} holds no image")

    return Container("tar", path, fingerprint_of_files(files, base), None, entries, ignored)


def _members(path: Path, skip: str, ignored: Counter[str]) -> Iterator[Entry]:
    with _opened(path) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # else every header stays in memory
            if member.isdir():
                continue
            if why := why_ignored(member.name, skip):
                ignored[why] += 1
            else:
                yield Entry(member.name, partial(_read_tarred, archive, member))


def _read_tarred(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg():
        raise Unusable(_LINK if member.issym() or member.islnk() else "not a regular file")
    file = archive.extractfile(member)
    assert file is not None
    with file:
        return read_within(file, member.size)


class _Header(tarfile.TarInfo):
    """A header that is what it should be; tarfile takes a missing or damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.HeaderError, ValueError) as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):  # a block of zeros is the end
                raise
            raise tarfile.ReadError("there is neither another file nor an end") from error
        if header.type in _TEXTS and header.size > _LONGEST_TEXT:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def _opened(path: Path) -> tarfile.TarFile:
    with path.open("rb") as file:
        packed = file.read(4) == _ZSTANDARD
    if not packed:
        return tarfile.open(path, "r:*", tarinfo=_Header)
    import pyarrow as pa

    return tarfile.open(fileobj=pa.input_stream(str(path), compression="zstd"), mode="r|", tarinfo=_Header)
