"""Downloading published files: an interrupted download is resumed, and the file is checked (torch-free)."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from avq.data.cards import Card, Download
from avq.data.decode import looks_like_a_web_page
from avq.data.hashing import sha256_of_file
from avq.errors import AvqError, reason_of

OnBytes = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received, and its size."""

_PIECE = 2**20
_SECONDS = 60
_RESUME = "The part received so far stays: the same command resumes it"
_LMDB_FILES = frozenset({"data.mdb", "lock.mdb"})


def fetch(card: Card, output: Path, on_bytes: OnBytes | None = None) -> list[Path]:
    """Download the files of a card, and unpack the LMDBs of LSUN; returns their folders.

    Raises:
        AvqError: no network, a full disk, or a file is not the published one.
    """
    output.mkdir(parents=True, exist_ok=True)
    folders = []
    for file in card.downloads:
        folder = output / file.name.removesuffix(".zip")
        if not (folder / "data.mdb").is_file():
            archive = download(file, output, on_bytes)
            unpack_lmdb(archive, folder)
            archive.unlink()
        folders.append(folder)
    return folders


def download(file: Download, output: Path, on_bytes: OnBytes | None = None) -> Path:
    """Download one file, or resume that.

    Raises:
        AvqError: it cannot be downloaded, or is not the published one; the line says which.
    """
    target, part = output / file.name, output / f"{file.name}.part"
    if target.is_file() and _is_published(file, target):
        return target
    have = part.stat().st_size if part.is_file() else 0
    if have < file.bytes:
        try:
            _receive(file, part, have, on_bytes)
        except (OSError, HTTPException) as error:
            raise AvqError(f"could not fetch {file.url} ({reason_of(error)}). {_RESUME}") from error
    _verify(file, part)
    part.rename(target)
    return target


def unpack_lmdb(archive: Path, folder: Path) -> None:
    """Unpack the two files of an LMDB directly into a folder, ignoring the paths that the archive names.

    Raises:
        AvqError: the archive is damaged, or contains no LMDB.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if (name := PurePosixPath(info.filename).name) in _LMDB_FILES:
                    with opened.open(info) as source, (part / name).open("xb") as target:
                        shutil.copyfileobj(source, target, _PIECE)
    except (zipfile.BadZipFile, FileExistsError, EOFError) as error:
        raise AvqError(f"{archive} is damaged ({reason_of(error)}): remove it and fetch it again") from error
    if not (part / "data.mdb").is_file():
        raise AvqError(f"{archive} holds no LMDB")
    part.rename(folder)


def _receive(file: Download, part: Path, have: int, on_bytes: OnBytes | None) -> None:
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310  # the address is the card's
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise AvqError(
                f"{file.url} answers with a web page, not with {file.name} (a quota or consent page?): use a browser"
            )
        if answer.status != 206:  # the server sends the whole file
            have = 0
        with part.open("ab" if have else "wb") as target:
            while piece := answer.read(_PIECE):
                target.write(piece)
                have += len(piece)
                if on_bytes:
                    on_bytes(file.name, have, file.bytes)


def _is_published(file: Download, path: Path) -> bool:
    return path.stat().st_size == file.bytes and (not file.sha256 or sha256_of_file(path) == file.sha256)


def _verify(file: Download, part: Path) -> None:
    size = part.stat().st_size
    with part.open("rb") as opened:
        page = looks_like_a_web_page(opened.read(1024))
    if size < file.bytes and not page:
        here = f"{size:,} of {file.bytes:,} bytes"
        raise AvqError(f"{file.url} ended after {here}. {_RESUME}")
    if page or not _is_published(file, part):
        part.unlink()
        what = "a web page" if page else "not the published file (its size or sha256 differs)"
        raise AvqError(f"the file from {file.url} is {what}, and was removed: give the command again")
