"""The second half of a preparation: from all records, the splits; from all chunks, a file a split (torch-free)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avq.data import chunks
from avq.data.cards import Card
from avq.data.chunks import CHUNK, Record
from avq.data.prepared import file_of
from avq.data.splits import LEFT_OUT, SPLITS, Assignment, NameRule

_COLUMNS = ("key", "split", "place", "width", "height", "source_sha256", "pixels_sha256", "note")


@dataclass(frozen=True)
class Found:
    """What all records say.

    Attributes:
        sources: sha256 of each image's bytes, uint8 ``[N, 32]``.
        pixels: sha256 of its decoded pixels, likewise.
        parts: what its name says of the split, uint8 ``[N]`` of `Part`.
        usable: bool ``[N]``; of others the values above are zero.
        first_bad: key and reason of the first that cannot be used.
        named: whether names decide the split.
    """

    sources: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    first_bad: str
    named: bool


def gather(card: Card, folder: Path) -> Found:
    """Read the records of all chunks."""
    rule, first_bad, count = NameRule(card), "", 0
    for records in chunks.read_records(folder):
        count += len(records)
        for record in records:
            rule.see(record.key)  # an index counts as there even where its file is damaged
            if record.reason and not first_bad:
                first_bad = f"{record.key}: {record.reason}"
    sources, pixels = np.zeros((count, 32), np.uint8), np.zeros((count, 32), np.uint8)
    parts, usable = np.zeros(count, np.uint8), np.zeros(count, bool)
    number = 0
    for records in chunks.read_records(folder):
        for record in records:
            if not record.reason:
                usable[number] = True
                sources[number] = np.frombuffer(bytes.fromhex(record.source), np.uint8)
                pixels[number] = np.frombuffer(bytes.fromhex(record.pixels), np.uint8)
                parts[number] = rule.part(record.key)
            number += 1
    return Found(sources, pixels, parts, usable, first_bad, rule.applies)


def write_table(folder: Path, path: Path, found: Found, where: Assignment) -> None:
    """``images.csv``: a line for every image of the source, in the source's order."""
    stays = np.flatnonzero(np.isin(np.arange(len(where.split)), where.copy_of))
    names: dict[int, str] = dict.fromkeys(map(int, stays), "")
    for number, record in _usable(folder):
        if number in names:
            names[number] = record.key
    numbers = iter(range(len(where.split)))
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for records in chunks.read_records(folder):
            for record in records:
                split, place, note = "", "", record.reason
                if not record.reason:
                    number = next(numbers)
                    if where.split[number] == LEFT_OUT:
                        kept = int(where.copy_of[number])
                        note = f"left out: a copy of {names[kept]}, which is in {SPLITS[where.split[kept]]}"
                    else:
                        split, place = SPLITS[where.split[number]], str(where.place[number])
                writer.writerow(
                    (record.key, split, place, record.width, record.height, record.source, record.pixels, note)
                )


def _usable(folder: Path) -> Iterator[tuple[int, Record]]:
    usable = (record for records in chunks.read_records(folder) for record in records if not record.reason)
    return enumerate(usable)


def write_splits(folder: Path, work: Path, size: int, where: Assignment, usable: NDArray[np.bool_]) -> None:
    """Write every image of every chunk to its place in its split's file; a chunk goes when its images are there."""
    files = {}
    try:
        for split, count in where.counts.items():
            files[split] = _Rows(work / file_of(split), count, size)
        first = 0
        for number in range(-(-len(usable) // CHUNK)):
            count = int(usable[number * CHUNK : (number + 1) * CHUNK].sum())
            images = chunks.read_pixels(folder, number)
            if images is not None:
                for image, split, place in zip(
                    images, where.split[first : first + count], where.place[first : first + count], strict=True
                ):
                    if split != LEFT_OUT:
                        files[SPLITS[split]].put(int(place), image)
                chunks.remove_pixels(folder, number)
            first += count
    finally:
        for file in files.values():
            file.close()


class _Rows:
    """A ``.npy`` file of images that are written one by one, in any order; without a memory map, whose pages count."""

    def __init__(self, path: Path, count: int, size: int) -> None:
        self._row = size * size * 3
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        with path.open("r+b" if path.exists() else "w+b") as file:
            np.lib.format.write_array_header_1_0(file, header)
            self._start = file.tell()
            file.truncate(self._start + count * self._row)
        self._file = os.open(path, os.O_RDWR)

    def put(self, place: int, image: NDArray[np.uint8]) -> None:
        data, offset = memoryview(np.ascontiguousarray(image).reshape(-1).data), self._start + place * self._row
        while data:
            written = os.pwrite(self._file, data, offset)
            data, offset = data[written:], offset + written

    def close(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
