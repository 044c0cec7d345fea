"""Tiny images, and every container they may come in, as the tests make them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Files = dict[str, bytes]


def picture(number: int, width: int = 40, height: int = 36) -> Image.Image:
    """A picture unlike any other, smooth enough for JPEG."""
    generator = np.random.default_rng(number)
    small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photographs(count: int, start: int = 0, prefix: str = "") -> Files:
    """JPEG and PNG files by name."""
    kinds = ("jpg", "JPEG"), ("png", "PNG")
    numbers = ((number, *kinds[number % 2]) for number in range(start, start + count))
    return {f"{prefix}{number:03}.{ending}": encoded(picture(number), form) for number, ending, form in numbers}


def as_folder(files: Files, place: Path) -> Path:
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def as_zip(files: Files, place: Path) -> Path:
    with zipfile.ZipFile(path := place.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in reversed(files.items()):
            archive.writestr(name, data)
    return path


def as_tar(files: Files, place: Path, ending: str = ".tar") -> Path:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{ending[5:].replace('zst', '')}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path = place.with_suffix(ending)
    with pa.output_stream(str(path), compression="zstd" if ending.endswith("zst") else None) as file:
        file.write(packed.getvalue())
    return path


def as_shards(files: Files, place: Path) -> Path:
    """As WebDataset's: several tars in a folder, other files beside the images."""
    place.mkdir()
    names = list(files)
    for number in range(0, len(names), 30):
        part = {name: files[name] for name in names[number : number + 30]}
        as_tar(part | {"000.cls": b"7"}, place / f"shard-{number:03}", ".tar")
    return place


def as_lmdb(files: Files, place: Path) -> Path:
    """As LSUN's: the key is a name without an ending, the value the bytes of the image."""
    with lmdb.open(str(place), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for name, data in files.items():
            transaction.put(name.replace("/", "-").rpartition(".")[0].encode(), data)
    (place / "lock.mdb").unlink()
    return place


def _table(files: Files) -> pa.Table:
    """As Hugging Face has it: a struct of bytes and path, and a label beside it."""
    values = [{"bytes": data, "path": name} for name, data in files.items()]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(values, kind), "label": pa.array(range(len(values)))})
    features = {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "Value"}}}}
    return table.replace_schema_metadata({"huggingface": json.dumps(features)})


def as_parquet_struct(files: Files, place: Path) -> Path:
    pq.write_table(_table(files), path := place.with_suffix(".parquet"), row_group_size=7)
    return path


def as_arrow(files: Files, place: Path) -> Path:
    """As ``save_to_disk`` writes it."""
    place.mkdir()
    table = _table(files)
    for number in range(2):
        half = table.slice(number * len(table) // 2, (number + 1) * len(table) // 2 - number * len(table) // 2)
        with pa.ipc.new_stream(place / f"data-{number:05}-of-00002.arrow", half.schema) as stream:
            stream.write_table(half, max_chunksize=7)
    (place / "state.json").write_text("{}")
    return place


def as_parquet_binary(files: Files, place: Path) -> Path:
    table = pa.table({"id": pa.array(list(files)), "jpg": pa.array(files.values(), pa.binary())})
    pq.write_table(table, path := place.with_suffix(".parquet"))
    return path


CONTAINERS: dict[str, Callable[[Files, Path], Path]] = {
    "folder": as_folder,
    "zip": as_zip,
    "tar": as_tar,
    **{f"tar.{packed}": partial(as_tar, ending=f".tar.{packed}") for packed in ("gz", "bz2", "xz", "zst")},
    "tar-shards": as_shards,
    "lmdb": as_lmdb,
    "parquet-struct": as_parquet_struct,
    "parquet-binary": as_parquet_binary,
    "arrow": as_arrow,
}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and what it holds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
