"""Which container lies at a path: its content tells, not its name (torch-free)."""

from __future__ import annotations

from pathlib import Path

from avq.data import archives, tables
from avq.data.containers import SUFFIXES, Container, image_files, open_folder
from avq.data.decode import looks_like_a_web_page
from avq.errors import UsageError


def open_container(path: Path, skip: str = "") -> Container:
    """Look what is at a path.

    Args:
        path: a folder or a file.
        skip: files of a folder or archive with these characters in their path are not meant.

    Raises:
        UsageError: nothing, nothing that is known, no image in it, or a web page that was saved in its place.
    """
    path = path.expanduser().absolute()
    if path.name == "data.mdb":
        path = path.parent
    if path.is_dir():
        if lmdbs := sorted(found.parent for found in path.rglob("data.mdb") if found.is_file()):
            return tables.open_lmdbs(path, lmdbs)
        if files := image_files(path, skip):
            return open_folder(path, files)
        if parquets := sorted(path.rglob("*.parquet")):
            return tables.open_parquets(path, parquets)
        raise _no_image_in(path)
    if not path.is_file():
        raise UsageError(f"there is nothing at {path}")
    start = _start_of(path)
    if looks_like_a_web_page(start):
        raise UsageError(
            f"{path} is a web page (HTML), not what its name says: a quota, consent or login page was saved in its "
            "place. Open the address in a browser and fetch the file again"
        )
    if start.startswith(b"PAR1"):
        return tables.open_parquets(path, [path])
    if archives.is_zip(path, start):
        return archives.open_zip(path, skip)
    if archives.is_tar(path):
        return archives.open_tar(path, skip)
    begins = f"it begins with {start[:8]!r}" if start else "it is empty"
    raise UsageError(f"{path} is neither a folder nor a zip, tar, LMDB or parquet file: {begins}")


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _no_image_in(folder: Path) -> UsageError:
    archives = sorted(path.name for path in folder.iterdir() if path.suffix in {".zip", ".tar", ".gz", ".tgz"})
    hint = f" It holds {archives[0]}: name that" if archives else ""
    return UsageError(f"no image ({', '.join(sorted(SUFFIXES))}), LMDB or parquet file in {folder}.{hint}")
