"""The pieces of work of a preparation: a few images each, decoded by any worker, kept as files until the end.

A chunk is two files, ``<number>.npy`` (uint8 ``[K, size, size, 3]``, the images that can be used) and ``<number>.json``
(a record for every image). The second appears last, and at once: where it is, the chunk is whole. (Torch-free.)
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avq.data.decode import decode
from avq.files import written_whole

CHUNK = 32
"""Images a chunk: a batch of this many is what a worker holds."""


class Item(NamedTuple):
    """One image on its way: its key, and its bytes or why there are none."""

    key: str
    data: bytes
    reason: str = ""


class Record(NamedTuple):
    """What is known of one image of the source.

    Attributes:
        key: its name there.
        source: sha256 of its bytes, 64 hexadecimal digits.
        pixels: sha256 of its decoded pixels, likewise; empty where it cannot be used.
        width: of the whole image; 0 where it cannot be used.
        height: likewise.
        reason: why it cannot be used; empty where it can.
    """

    key: str
    source: str
    pixels: str
    width: int
    height: int
    reason: str


def write_chunk(folder: Path, number: int, size: int, items: Sequence[Item]) -> int:
    """Decode the images of a chunk and keep them; returns how many there were."""
    pixels, records = [], []
    for key, data, reason in items:
        found = reason or decode(data, size)
        source = hashlib.sha256(data).hexdigest()
        if isinstance(found, str):
            records.append(Record(key, source, "", 0, 0, found))
        else:
            pixels.append(found.pixels)
            records.append(Record(key, source, found.digest.hex(), found.width, found.height, ""))
    images = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
    with written_whole(_pixels(folder, number), durable=False) as aside:
        np.save(aside, images)
    with written_whole(_records(folder, number), durable=False) as aside:
        aside.write_text(json.dumps(records), encoding="ascii")
    return len(items)


def is_done(folder: Path, number: int) -> bool:
    """Whether a chunk is there, whole."""
    return _records(folder, number).is_file()


def read_records(folder: Path) -> Iterator[list[Record]]:
    """The records of all chunks, in order."""
    for number in range(sum(1 for _ in folder.glob("[0-9]*.json"))):
        yield [Record(*values) for values in json.loads(_records(folder, number).read_text(encoding="ascii"))]


def read_pixels(folder: Path, number: int) -> np.ndarray | None:
    """The images of a chunk; None where they were removed."""
    try:
        images: np.ndarray = np.load(_pixels(folder, number))
    except FileNotFoundError:
        return None
    return images


def remove_pixels(folder: Path, number: int) -> None:
    """Give the room of a chunk back, when its images are where they belong."""
    _pixels(folder, number).unlink(missing_ok=True)


def worker_pool(workers: int, processes: bool) -> Executor:
    """Workers for `write_chunk`.

    Args:
        workers: how many.
        processes: processes of their own, which use as many cores; else threads, which start at once and may be
            had where a process may have no children. Pillow lets other threads run while it decodes.
    """
    if not processes:
        return ThreadPoolExecutor(workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin_worker)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _pixels(folder: Path, number: int) -> Path:
    return folder / f"{number:07}.npy"


def _records(folder: Path, number: int) -> Path:
    return folder / f"{number:07}.json"
