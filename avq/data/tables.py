"""Images in LMDB (LSUN's layout) and in parquet files with an image column (torch-free)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from avq.data.containers import Container, Entry, Unusable, damaged, fingerprint_of_files
from avq.errors import UsageError, reason_of

_ROWS = 32
_LIKELY_NAMES = ("image", "img", "jpg", "png", "webp", "pixels")


def open_lmdbs(path: Path, folders: list[Path]) -> Container:
    """LMDBs as LSUN publishes them: one per category and split, each value the bytes of one image.

    They are opened as torchvision's LSUN does, read-only and without a lock file: nothing is written beside them.

    Raises:
        UsageError: one cannot be opened, or they contain no image.
    """
    count = 0
    for folder in folders:
        with _open_lmdb(folder) as environment:
            count += environment.stat()["entries"]
    if not count:
        raise UsageError(f"{path} holds no image")

    def entries() -> Iterator[Entry]:
        for folder in folders:
            name = folder.name if folder == path else folder.relative_to(path).as_posix()
            with _open_lmdb(folder) as environment, environment.begin(buffers=True) as transaction:
                for key, value in transaction.cursor():
                    label = bytes(key).decode("utf-8", "backslashreplace")
                    yield Entry(f"{name}/{label}", partial(bytes, value))

    files = [folder / "data.mdb" for folder in folders]
    return Container("lmdb", path, fingerprint_of_files(files, path), count, entries)


def _open_lmdb(folder: Path) -> Any:
    import lmdb

    try:
        return lmdb.open(str(folder), max_readers=1, readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise UsageError(f"{folder} is not an LMDB, or is damaged: {error}") from error


def open_parquets(path: Path, files: list[Path]) -> Container:
    """Parquet files with a column of images: binary, or a struct of bytes and path as Hugging Face writes it.

    Raises:
        UsageError: a file is damaged, contains no image, or does not say which column has the images.
    """
    columns = {file: _image_column(file) for file in files}
    base = path if path.is_dir() else path.parent
    count = sum(rows for _, rows in columns.values())
    if not count:
        raise UsageError(f"{path} holds no image")

    def entries() -> Iterator[Entry]:
        for file, (column, _) in columns.items():
            name, row = file.relative_to(base).as_posix(), 0
            with _open_parquet(file) as table:
                try:
                    for batch in table.iter_batches(_ROWS, columns=[column], use_threads=False):
                        for value in batch.column(0):
                            yield _entry(value, name, row)
                            row += 1
                except OSError as error:  # ArrowInvalid is a ValueError, and a damaged page an OSError
                    raise damaged(file, reason_of(error)) from error

    return Container("parquet", path, fingerprint_of_files(files, base), count, entries)


def _entry(value: Any, file: str, row: int) -> Entry:
    import pyarrow as pa

    is_struct, label = pa.types.is_struct(value.type), f"#{row}"
    if is_struct and value.is_valid and "path" in {part.name for part in value.type}:
        label = value["path"].as_py() or label

    def read() -> bytes:
        content = value.as_py()
        data = content["bytes"] if is_struct and content else content
        if data is None:
            raise Unusable("the row holds no bytes")
        return bytes(data)

    return Entry(f"{file}/{label}", read)


def _open_parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(file, reason_of(error)) from error


def _image_column(file: Path) -> tuple[str, int]:
    """The name of the column of images, and the number of rows."""
    import pyarrow as pa

    with _open_parquet(file) as table:
        schema, rows = table.schema_arrow, table.metadata.num_rows
    declared = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    found = [name for name, kind in declared.items() if isinstance(kind, dict) and kind.get("_type") == "Image"]

    def may_be_images(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return "bytes" in {part.name for part in kind}
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = found or [field.name for field in schema if may_be_images(field.type)]
    likely = [name for name in _LIKELY_NAMES if name in found] or found
    if not likely or (len(found) > 1 and likely is found):
        which = f"several columns may ({', '.join(found)})" if found else f"none may ({', '.join(schema.names)})"
        raise UsageError(f"{file} does not say which column holds the images: {which}. Call one of them 'image'")
    return likely[0], rows
