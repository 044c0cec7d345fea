"""Images in zip and tar archives, read as streams (torch-free)."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from avq.data.containers import Container, Entry, Unusable, damaged, is_image_name, signature_of
from avq.data.decode import MOST_BYTES
from avq.errors import UsageError, reason_of

_LINK = "a link, and links in archives are not followed"
# What the decompressors of zip and tar raise on damaged bytes.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def is_zip(path: Path, start: bytes) -> bool:
    """Whether it is a zip, or was the beginning of one."""
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06")) or zipfile.is_zipfile(path)


def is_tar(path: Path) -> bool:
    """Whether it is a tar, compressed by gzip, bzip2 or xz or not at all."""
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, zlib.error):
        return False


def open_zip(path: Path, skip: str) -> Container:
    """A zip of image files.

    Raises:
        UsageError: it is damaged or cut off, or holds no image.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except _DAMAGE as error:
        raise damaged(path, reason_of(error)) from error
    if any(Path(info.filename).name == "data.mdb" for info in members):
        raise UsageError(f"{path} holds an LMDB, which cannot be read inside a zip: unzip it and name the folder")
    members = sorted(
        (info for info in members if is_image_name(info.filename, skip)), key=lambda i: (i.filename, i.header_offset)
    )
    if not members:
        raise UsageError(f"{path} holds no image")

    def entries() -> Iterator[Entry]:
        with zipfile.ZipFile(path) as archive:
            for info in members:
                yield Entry(info.filename, lambda info=info: _read_zipped(archive, info))  # type: ignore[misc]

    return Container("zip", path, signature_of([path], path.parent), len(members), entries)


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Unusable(_LINK)
    try:
        with archive.open(info) as file:
            return _read(file, info.file_size)
    except _DAMAGE as error:
        raise Unusable(reason_of(error)) from error


def open_tar(path: Path, skip: str) -> Container:
    """A tar of image files; how many is not known before its end.

    Raises:
        UsageError: it holds no image.
    """

    def entries() -> Iterator[Entry]:
        found = 0
        try:
            with tarfile.open(path, "r:*") as archive:
                for member in archive:
                    archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
                    if not member.isdir() and is_image_name(member.name, skip):
                        found += 1
                        yield Entry(member.name, lambda member=member: _read_tarred(path, archive, member))  # type: ignore[misc]
                _see_the_end(archive)
        except _DAMAGE as error:
            raise damaged(path, f"after {found:,} images, {reason_of(error)}") from error
        if not found:
            raise UsageError(f"{path} holds no image")

    return Container("tar", path, signature_of([path], path.parent), None, entries)


def _see_the_end(archive: tarfile.TarFile) -> None:
    """tarfile takes a header that is missing or damaged for the end; the end is a block of zeros."""
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
    except _DAMAGE as error:  # what follows in the stream cannot be had either
        raise damaged(path, f"at {member.name}, {reason_of(error)}") from error


def _read(file: IO[bytes], size: int) -> bytes:
    """All bytes; a header may lie about how many, and a small archive may hold endless ones."""
    data = b"" if size > MOST_BYTES else file.read(MOST_BYTES + 1)
    if max(size, len(data)) > MOST_BYTES:
        raise Unusable(f"more than {MOST_BYTES:,} bytes, which no image needs")
    return data
