"""The pieces of work of a preparation: a few images each, decoded by any worker, stored as files until the end.

A chunk is two files, ``<number>.npy`` (uint8 ``[K, size, size, 3]``, the usable images) and ``<number>.json`` (a record
for every image). The second appears last, in one step: where it exists, the chunk is complete. (Torch-free.)
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from avq.data.decode import decode
from avq.files import written_whole

P = ParamSpec("P")
T = TypeVar("T")

CHUNK, CHUNK_BYTES = 32, 2**26
"""A chunk, and so what a worker holds in memory, ends with that many images or bytes."""


class Item(NamedTuple):
    """An image to be decoded: its key, and its bytes or the reason why they cannot be read."""

    key: str
    data: bytes
    reason: str = ""


class Record(NamedTuple):
    """What is known of one image of the source.

    Attributes:
        key: its name there.
        source: sha256 of its bytes, 64 hexadecimal digits.
        pixels: sha256 of its decoded pixels, likewise; empty where it cannot be used.
        width: of the whole image, like `height`; 0 where it cannot be used.
        reason: why it cannot be used; empty where it can.
        converted: what was done to make it upright RGB, such as "grey, turned".
    """

    key: str
    source: str
    pixels: str
    width: int
    height: int
    reason: str
    converted: str = ""


def write_chunk(folder: Path, number: int, size: int, items: Sequence[Item]) -> int:
    """Decode and store the images of a chunk; returns their number."""
    pixels, records = [], []
    for key, data, reason in items:
        found = reason or decode(data, size)
        source = hashlib.sha256(data).hexdigest()
        if isinstance(found, str):
            records.append(Record(key, source, "", 0, 0, found))
        else:
            pixels.append(found.pixels)
            changes = ", ".join(found.converted)
            records.append(Record(key, source, found.digest.hex(), found.width, found.height, "", changes))
    images = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
    with written_whole(_pixels(folder, number), durable=False) as aside:
        np.save(aside, images)
    with written_whole(_records(folder, number), durable=False) as aside:
        aside.write_text(json.dumps(records), encoding="ascii")
    return len(items)


def read_chunk(folder: Path, number: int) -> list[Record]:
    """The records of a chunk; none where it is not complete."""
    try:
        return [Record(*values) for values in json.loads(_records(folder, number).read_text(encoding="ascii"))]
    except FileNotFoundError:
        return []


def read_records(folder: Path) -> Iterator[Record]:
    """The records of all chunks, in order."""
    for number in count():
        if not (records := read_chunk(folder, number)):
            return
        yield from records


def read_pixels(folder: Path, number: int) -> np.ndarray | None:
    """The images of a chunk; None where they were removed."""
    try:
        images: np.ndarray = np.load(_pixels(folder, number))
    except FileNotFoundError:
        return None
    return images


def remove_pixels(folder: Path, number: int) -> None:
    """Free a chunk's disk space, once its images are in their splits."""
    _pixels(folder, number).unlink(missing_ok=True)


def worker_pool(workers: int, processes: bool) -> Executor:
    """Workers for `write_chunk`: processes, or threads, which start at once and are allowed in any process.

    Pillow lets other threads run while it decodes.
    """
    if not processes:
        return ThreadPoolExecutor(workers)
    return _Processes(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


class _Processes(ProcessPoolExecutor):
    """Processes that leave Ctrl-C to their parent from their first moment: they inherit that it is blocked."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with_parent() -> None:
    """End when the parent ends, for any reason."""
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
