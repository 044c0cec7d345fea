"""From a container of images to a prepared set: squares of one size, by split, ready to be memory-mapped.

First every image is decoded, once, into chunks; then, when all hashes are known, the images are written to
one file a split, in the order of the hashes. Either part resumes where it was killed. What is written depends on the
source, the size and the libraries alone: not on the number of workers, nor on interruptions. A batch of images a worker
is held in memory, and about a hundred bytes for each image of the source. (Torch-free.)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from avq.data import chunks
from avq.data.assemble import gather, write_splits, write_table
from avq.data.cards import Card
from avq.data.chunks import CHUNK, Item
from avq.data.containers import Container, Entry, Unusable
from avq.data.decode import RULES
from avq.data.hashing import sha256_of_file
from avq.data.prepared import FORMAT, IMAGES, MANIFEST, Prepared, file_of, find_prepared, set_name
from avq.data.resize import FILTER
from avq.data.splits import LEFT_OUT, SPLITS, assign, content_address
from avq.errors import AvqError, UsageError
from avq.files import held, read_json, written_whole

OnProgress = Callable[[int, int | None], None]
"""Called with the images done, and how many there are where that is known."""

_WRITING = "writing-splits"


class TooManyBad(AvqError):
    """More images cannot be used than were to be put up with."""


@dataclass(frozen=True)
class Outcome:
    """A prepared set, and whether it had been there before."""

    prepared: Prepared
    reused: bool


def prepare(
    card: Card,
    container: Container,
    size: int,
    output: Path,
    *,
    workers: int = 1,
    processes: bool = True,
    max_bad: int = 0,
    replace: bool = False,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Prepare a dataset, or resume it; a set that is there already from the same source is left as it is.

    Args:
        card: the dataset; its rule and shares make the split.
        container: where the images come from; only read.
        size: height and width in pixels.
        output: the folder that will hold the set, as ``<name>-<size>``.
        workers: chunks decoded at once.
        processes: whether workers are processes (of a program that can be imported) or threads.
        max_bad: how many images may be unusable; each is named, with the reason, in ``images.csv``.
        replace: take the place of a set from another source.

    Raises:
        UsageError: the output lies in the source, holds another set, or a split would have no image.
        TooManyBad: more images than ``max_bad`` cannot be used. What was done is kept.
    """
    target = output.absolute() / set_name(card.name, size)
    if container.kind == "folder" and target.resolve().is_relative_to(container.path.resolve()):
        raise UsageError(
            f"the output {target} lies inside the source, which is never written to: name another --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    with held(output / f".{target.name}.lock", wait=True):
        if (there := _there(output, card, size, container, replace)) is not None:
            return Outcome(there, reused=True)
        work, job = output / f".{target.name}.part", _job(card, container, size)
        if not _is_whole(work, job):
            _begin(work, job)
            if not (work / _WRITING).exists():
                _decode_all(container, size, work, workers, processes, on_progress)
            _finish(card, container, job, work, max_bad)
        shutil.rmtree(work / "chunks", ignore_errors=True)
        for left in (work / "job.json", work / _WRITING, *work.glob(".*")):
            left.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    found = find_prepared(output, card, size)
    assert found is not None
    return Outcome(found, reused=False)


def _there(output: Path, card: Card, size: int, container: Container, replace: bool) -> Prepared | None:
    """The set that is there already, where it came from this very source; what may be replaced does not count."""
    try:
        there = find_prepared(output, card, size)
    except UsageError:
        if not replace:
            raise
        return None
    if there is None or there.came_from(container):
        return there
    if not replace:
        raise UsageError(
            f"{there.folder} was prepared from another source ({there.source_path}), or from other files there: remove "
            "it, or name another --output"
        )
    return None


def _job(card: Card, container: Container, size: int) -> dict[str, Any]:
    """What the result depends on; work that was begun for another job is of no use."""
    return {
        "format": FORMAT,
        "dataset": card.name,
        "size": size,
        "filter": FILTER,
        "rules": RULES,
        "split": {"rule": card.rule, "indices": card.indices, "shares": card.shares},
        "source": {"kind": container.kind, "path": str(container.path), "signature": container.signature},
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """The libraries that a pixel depends on."""
    import PIL
    from PIL import features

    codecs = {name: features.version(name) or "none" for name in ("libjpeg_turbo", "jpg", "zlib", "webp")}
    return {"pillow": PIL.__version__, "numpy": np.__version__, **codecs}


def _is_whole(work: Path, job: dict[str, Any]) -> bool:
    """Whether the work for a job lacks nothing but its last name: the manifest appears when all else is there."""
    manifest = read_json(work / MANIFEST)
    return bool(manifest) and all(manifest.get(key) == value for key, value in job.items() if key != "split")


def _begin(work: Path, job: dict[str, Any]) -> None:
    """Go on with work for the same job, or start afresh."""
    if read_json(work / "job.json") != job:
        shutil.rmtree(work, ignore_errors=True)
        (work / "chunks").mkdir(parents=True)
        (work / "job.json").write_text(json.dumps(job))


def _decode_all(
    container: Container,
    size: int,
    work: Path,
    workers: int,
    processes: bool,
    on_progress: OnProgress | None,
) -> None:
    folder, done = work / "chunks", 0
    running: set[Future[int]] = set()

    def collect(limit: int) -> None:
        nonlocal running, done
        while len(running) > limit:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            done += sum(future.result() for future in ready)
            if on_progress:
                on_progress(done, container.count)

    with chunks.worker_pool(workers, processes) as pool:
        number = 0
        for number, batch in enumerate(
            _batches(container.entries(), lambda number: not chunks.is_done(folder, number))
        ):
            if isinstance(batch, int):
                done += batch
                continue
            running.add(pool.submit(chunks.write_chunk, folder, number, size, batch))
            collect(workers)  # one waits in each worker's reach while it is at another
        collect(0)


def _batches(entries: Iterator[Entry], wanted: Callable[[int], bool]) -> Iterator[list[Item] | int]:
    """Entries in batches: their bytes where they are wanted, else how many they are, unread."""
    number = 0
    while True:
        need = wanted(number)
        batch, count = [], 0
        for entry in islice(entries, CHUNK):
            count += 1
            if need:
                batch.append(_read(entry))
        if not count:
            return
        yield batch if need else count
        number += 1


def _read(entry: Entry) -> Item:
    try:
        return Item(entry.key, entry.read())
    except Unusable as error:
        return Item(entry.key, b"", str(error))


def _finish(card: Card, container: Container, job: dict[str, Any], work: Path, max_bad: int) -> None:
    folder = work / "chunks"
    prefix = f"{container.path}/" if container.kind == "folder" else ""
    found = gather(card, folder)
    bad = int((~found.usable).sum())
    where = assign(found.pixels[found.usable], found.parts[found.usable], card.shares)
    write_table(folder, work / IMAGES, found, where)
    if bad > max_bad:
        first = prefix + found.first_bad
        which = f"image {first}" if bad == 1 else f"{bad:,} of {len(found.usable):,} images, the first {first}"
        raise TooManyBad(f"cannot use {which}. {'It is' if bad == 1 else 'Each is'} named in {work / IMAGES}")
    for split, count in where.counts.items():
        if not count:
            raise UsageError(f"{container.path} has only {len(found.usable):,} images: none falls into {split}")
    (work / _WRITING).touch()
    write_splits(folder, work, int(job["size"]), where, found.usable)
    content = content_address(found.sources[found.usable], found.parts[found.usable])
    names = (IMAGES, *map(file_of, SPLITS))
    manifest = job | {
        "split": job["split"] | {"by_name": found.named},
        "content": content,
        "counts": {
            **where.counts,
            "source": len(found.usable),
            "unusable": bad,
            "left_out": int((where.split == LEFT_OUT).sum()),
        },
        "files": {
            name: {"bytes": (work / name).stat().st_size, "sha256": sha256_of_file(work / name)} for name in names
        },
    }
    with written_whole(work / MANIFEST) as aside:
        aside.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
