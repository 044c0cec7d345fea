"""Images in zip and tar archives, read as streams (torch-free)."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from avq.data.containers import Container, Entry, Unusable, damaged, fingerprint_of_files, is_image_name
from avq.data.decode import MOST_BYTES
from avq.errors import UsageError, reason_of

_LINK = "a link, and links in archives are not followed"
# What the decompressors of zip and tar raise on damaged bytes.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def open_archive(path: Path, start: bytes, skip: str) -> Container | None:
    """A zip, or a tar compressed by gzip, bzip2, xz or not at all; None for any other file.

    Raises:
        UsageError: a zip is damaged or incomplete, or contains no image; of a tar, this is raised while it is read.
    """
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) or zipfile.is_zipfile(path):
        return _open_zip(path, skip)
    with suppress(EOFError, zlib.error):
        if tarfile.is_tarfile(path):
            return _open_tar(path, skip)
    return None


def _open_zip(path: Path, skip: str) -> Container:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except _DAMAGE as error:
        raise damaged(path, reason_of(error)) from error
    if any(Path(info.filename).name == "data.mdb" for info in members):
        raise UsageError(f"{path} holds an LMDB, which cannot be read inside a zip: unzip it and name the folder")
    members = [info for info in members if is_image_name(info.filename, skip)]
    if not members:
        raise UsageError(f"{path} holds no image")
    members.sort(key=lambda info: (info.filename, info.header_offset))

    def entries() -> Iterator[Entry]:
        with zipfile.ZipFile(path) as archive:
            for info in members:
                yield Entry(info.filename, partial(_read_zipped, archive, info))

    return Container("zip", path, fingerprint_of_files([path], path.parent), len(members), entries)


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Unusable(_LINK)
    try:
        with archive.open(info) as file:
            return _read(file, info.file_size)
    except _DAMAGE as error:
        raise Unusable(reason_of(error)) from error


def _open_tar(path: Path, skip: str) -> Container:
    def entries() -> Iterator[Entry]:
        found = 0
        try:
            with tarfile.open(path, "r:*") as archive:
                for member in archive:
                    archive.members.clear()  # type: ignore[attr-defined]  # else every header stays in memory
                    if not member.isdir() and is_image_name(member.name, skip):
                        found += 1
                        yield Entry(member.name, partial(_read_tarred, path, archive, member))
                _check_end(archive)
        except _DAMAGE as error:
            raise damaged(path, f"after {found:,} images, {reason_of(error)}") from error
        if not found:
            raise UsageError(f"{path} holds no image")

    return Container("tar", path, fingerprint_of_files([path], path.parent), None, entries)


def _check_end(archive: tarfile.TarFile) -> None:
    """A tar ends with a block of zeros; tarfile also takes a missing or damaged header for the end."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("there is neither another file nor an end")


def _read_tarred(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg():
        raise Unusable(_LINK if member.issym() or member.islnk() else "not a regular file")
    try:
        file = archive.extractfile(member)
        assert file is not None
        with file:
            return _read(file, member.size)
    except _DAMAGE as error:  # the rest of the stream is lost too
        raise damaged(path, f"at {member.name}, {reason_of(error)}") from error


def _read(file: IO[bytes], size: int) -> bytes:
    """All bytes; a header may understate their number, and a small archive may expand without end."""
    data = b"" if size > MOST_BYTES else file.read(MOST_BYTES + 1)
    if max(size, len(data)) > MOST_BYTES:
        raise Unusable(f"more than {MOST_BYTES:,} bytes, which no image needs")
    return data
