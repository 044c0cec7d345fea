"""Which container a path is, by its content rather than its name (torch-free)."""

from __future__ import annotations

from pathlib import Path

from avq.data import archives, tables
from avq.data.containers import Container, in_words
from avq.data.decode import looks_like_a_web_page
from avq.data.folders import look_into
from avq.errors import UsageError


def open_container(path: Path, skip: str = "") -> Container:
    """Open a folder or a file of images.

    Args:
        path: of the folder or file.
        skip: files of a folder or archive with this text in their path are ignored.

    Raises:
        UsageError: there is nothing, an unknown format, no image, or a web page that was saved in its place.
    """
    path = path.expanduser().absolute()
    if path.name == "data.mdb":
        path = path.parent
    if path.is_dir():
        return _open_directory(path, skip)
    if not path.is_file():
        raise UsageError(f"there is nothing at {path}")
    try:
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    if looks_like_a_web_page(start):
        raise UsageError(
            f"{path} is a web page (HTML), not what its name says: a quota, consent or login page was saved in its "
            "place. Open the address in a browser and fetch the file again"
        )
    if start.startswith(b"PAR1"):
        return tables.open_tables("parquet", path, [path])
    if start.startswith(b"\xff\xff\xff\xff") and path.suffix.lower() == ".arrow":
        return tables.open_tables("arrow", path, [path])
    if (archive := archives.open_archive(path, start, skip)) is not None:
        return archive
    begins = f"it begins with {start[:8]!r}" if start else "it is empty"
    raise UsageError(f"{path} is neither a folder nor a whole zip, tar, LMDB, parquet or Arrow file: {begins}")


def _open_directory(path: Path, skip: str) -> Container:
    found = look_into(path, skip)
    match found.others:
        case {"LMDB": files}:
            opened = tables.open_lmdbs(path, files)
        case {"parquet": files}:
            opened = tables.open_tables("parquet", path, files)
        case {"Arrow": files}:
            opened = tables.open_tables("arrow", path, files)
        case {"tar": files}:
            return archives.open_tars(path, files, skip, found.ignored)
        case {"zip": files}:
            raise UsageError(f"no image in {path}. It holds {files[0].relative_to(path)}: name that")
        case _ if not found.images:
            lies = "it holds " + in_words(found.ignored) if found.ignored else "it is empty"
            raise UsageError(f"no image, LMDB, parquet, Arrow or tar file in {path}: {lies}")
        case _:
            return found.as_container()
    opened.ignored.update(found.ignored)
    return opened
