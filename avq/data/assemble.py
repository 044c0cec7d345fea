"""The second half of a preparation: from all records, the splits; from all chunks, one file per split (torch-free)."""

from __future__ import annotations

import csv
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from avq.data import chunks
from avq.data.cards import Card
from avq.data.containers import LISTED
from avq.data.prepared import file_of
from avq.data.splits import LEFT_OUT, SPLITS, Assignment, NameRule

_COLUMNS = ("key", "split", "place", "width", "height", "source_sha256", "pixels_sha256", "note")


@dataclass(frozen=True)
class Found:
    """What all records say.

    Attributes:
        sources: sha256 of each image's bytes, uint8 ``[N, 32]``; zeros where the image is unusable.
        pixels: sha256 of its decoded pixels, likewise.
        parts: what its name says of the split, uint8 ``[N]`` of `Part`.
        usable: bool ``[N]``.
        refused: keys and reasons of the first unusable ones.
        converted: images by what was done to make them upright RGB; "images" counts those.
        named: whether names decide the split.
    """

    sources: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    refused: list[str]
    converted: Counter[str]
    named: bool


def gather(card: Card, folder: Path) -> Found:
    """Read the records of all chunks."""
    rule, refused, converted, length = NameRule(card), list[str](), Counter[str](), 0
    for record in chunks.read_records(folder):
        length += 1
        rule.see(record.key)  # a damaged file counts too: its index is there
        if record.reason and len(refused) < LISTED:
            refused.append(f"{record.key}: {record.reason}")
        if record.converted:
            converted.update(["images", *record.converted.split(", ")])
    sources, pixels = np.zeros((length, 32), np.uint8), np.zeros((length, 32), np.uint8)
    parts, usable = np.zeros(length, np.uint8), np.zeros(length, bool)
    for number, record in enumerate(chunks.read_records(folder)):
        if not record.reason:
            usable[number] = True
            sources[number] = np.frombuffer(bytes.fromhex(record.source), np.uint8)
            pixels[number] = np.frombuffer(bytes.fromhex(record.pixels), np.uint8)
            parts[number] = rule.part(record.key)
    return Found(sources, pixels, parts, usable, refused, converted, rule.applies)


def write_table(folder: Path, path: Path, where: Assignment) -> None:
    """Write ``images.csv``: a line for every image of the source, in the source's order."""
    copied = set(where.copy_of.tolist())
    usable = (record for record in chunks.read_records(folder) if not record.reason)
    names = {number: record.key for number, record in enumerate(usable) if number in copied}
    numbers = count()
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for key, source, pixels, width, height, reason, _ in chunks.read_records(folder):
            split, place, note = "", "", reason
            if not reason:
                number = next(numbers)
                if where.split[number] == LEFT_OUT:
                    original = int(where.copy_of[number])
                    note = f"left out: a copy of {names[original]}, which is in {SPLITS[where.split[original]]}"
                else:
                    split, place = SPLITS[where.split[number]], str(where.place[number])
            writer.writerow((key, split, place, width, height, source, pixels, note))


def write_splits(folder: Path, work: Path, size: int, where: Assignment) -> None:
    """Write every image to its place in its split's file; a chunk is removed when its images are there."""
    row = size * size * 3
    with ExitStack() as stack:
        files = [stack.enter_context(_allocate(work / file_of(name), where.counts[name], size)) for name in SPLITS]
        starts = [file.tell() for file in files]
        first = 0
        for number in count():
            if not (records := chunks.read_chunk(folder, number)):
                break
            images = chunks.read_pixels(folder, number)
            here = slice(first, first + sum(not record.reason for record in records))
            first = here.stop
            if images is None:
                continue
            for image, split, place in zip(images, where.split[here], where.place[here], strict=True):
                if split != LEFT_OUT:
                    files[split].seek(starts[split] + int(place) * row)
                    files[split].write(image.data)
            for file in files:
                file.flush()
            chunks.remove_pixels(folder, number)
        for file in files:
            os.fsync(file.fileno())


def _allocate(path: Path, images: int, size: int) -> BinaryIO:
    """A ``.npy`` file of that size, at its first image; no memory map, whose pages would count as used memory."""
    file = path.open("r+b" if path.exists() else "w+b")
    header = {"descr": "|u1", "fortran_order": False, "shape": (images, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)
    file.truncate(file.tell() + images * size * size * 3)
    return file
