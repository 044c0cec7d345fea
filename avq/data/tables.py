"""Images in LMDB (LSUN's layout), and in parquet and Arrow files with an image column (torch-free)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from avq.data.containers import (
    Container,
    Entry,
    Kind,
    Unusable,
    damaged,
    fingerprint_of_files,
    unless_damaged,
    unreadable,
)
from avq.data.lmdb_file import entries_of, read_meta
from avq.errors import UsageError

_ROWS = 32
_LIKELY_NAMES = ("image", "img", "jpg", "png", "webp", "pixels")


def open_lmdbs(path: Path, files: list[Path]) -> Container:
    """LMDBs as LSUN publishes them: one per category and split, each value the bytes of one image.

    Args:
        path: the folder that holds them all.
        files: their ``data.mdb``.

    Raises:
        UsageError: one cannot be opened, or they contain no image.
    """
    metas = {}
    for file in files:
        try:
            metas[file] = read_meta(file)
        except (OSError, ValueError) as error:
            raise damaged(file, error) from error
    total = sum(meta.entries for meta in metas.values())
    if not total:
        raise UsageError(f"{path} holds no image")

    def entries() -> Iterator[Entry]:
        for file, meta in metas.items():
            folder = file.parent
            name = folder.name if folder == path else folder.relative_to(path).as_posix()
            with file.open("rb") as opened:
                yield from entries_of(opened, meta, name)

    return Container("lmdb", path, fingerprint_of_files(files, path), total, entries)


def open_tables(kind: Kind, path: Path, files: list[Path]) -> Container:
    """Parquet files, or Arrow files (Hugging Face's ``save_to_disk``), with images in a column.

    The column is binary, or a struct of bytes and path. Of several files, one that cannot be opened is one bad image.

    Raises:
        UsageError: a single file is damaged; there is no image; a file does not say which column has the images.
    """
    base = path if path.is_dir() else path.parent
    columns: dict[Path, str] = {}
    broken: dict[Path, Exception] = {}
    total: int | None = 0
    for file in files:
        try:
            schema, rows = _schema(file)
            columns[file] = _image_column(file, schema)
        except UsageError:
            raise
        except Exception as error:  # Arrow raises anything on damaged bytes
            broken[file] = error
        else:
            total = None if rows is None or total is None else total + rows
    if not columns:
        raise damaged(files[0], broken[files[0]]) from broken[files[0]]
    if total == 0:
        raise UsageError(f"{path} holds no image")

    def entries() -> Iterator[Entry]:
        for file in files:
            name = file.relative_to(base).as_posix()
            if file in broken:
                yield unreadable(name, broken[file])
            else:
                yield from unless_damaged(name, _rows(file, columns[file], name))

    return Container(kind, path, fingerprint_of_files(files, base), total and total + len(broken), entries)


def _rows(file: Path, column: str, name: str) -> Iterator[Entry]:
    """The images of a file; one row group that is damaged spoils no other."""
    import pyarrow.parquet as pq

    if file.suffix.lower() == ".arrow":
        yield from _entries(_arrow_batches(file), column, name, 0)
        return
    with pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as table:
        row = 0
        for group in range(table.num_row_groups):
            batches = table.iter_batches(_ROWS, [group], [column], use_threads=False)
            yield from unless_damaged(f"{name}/row group {group}", _entries(batches, column, name, row))
            row += table.metadata.row_group(group).num_rows


def _arrow_batches(file: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            batch.validate(full=True)  # else an offset that is wrong reads any memory
            yield batch


def _entries(batches: Iterator[Any], column: str, file: str, row: int) -> Iterator[Entry]:
    numbers = count(row)
    for batch in batches:
        for value in batch.column(column):
            yield _entry(value, file, next(numbers))


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


def _schema(file: Path) -> tuple[Any, int | None]:
    """The columns, and the number of rows where it is known beforehand."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix.lower() == ".arrow":
        with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
            return stream.schema, None
    with pq.ParquetFile(file) as table:
        return table.schema_arrow, table.metadata.num_rows


def _image_column(file: Path, schema: Any) -> str:
    import pyarrow as pa

    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    declared = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"]

    def may_be_images(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return "bytes" in {part.name for part in kind}
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = declared or [field.name for field in schema if may_be_images(field.type)]
    likely = [name for name in _LIKELY_NAMES if name in found] or found
    if not likely or (len(found) > 1 and likely is found):
        which = f"several columns may ({', '.join(found)})" if found else f"none may ({', '.join(schema.names)})"
        raise UsageError(f"{file} does not say which column holds the images: {which}. Call one of them 'image'")
    return likely[0]
