"""From a container of images to a prepared set: squares of one size, by split, ready to be memory-mapped.

First every image is decoded, once, into chunks. Then, when all hashes are known, the images are written to one file per
split, in the order of the hashes. Either half resumes where it was killed. The result depends on the source, the size
and the libraries alone: not on the number of workers, nor on interruptions. Memory holds one batch of images per worker
and about a hundred bytes for each image of the source. (Torch-free.)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

from avq.data import chunks
from avq.data.assemble import gather, write_splits, write_table
from avq.data.cards import Card
from avq.data.chunks import CHUNK, CHUNK_BYTES, Item
from avq.data.containers import Container, Entry
from avq.data.decode import RULES
from avq.data.hashing import sha256_of_file
from avq.data.prepared import FORMAT, IMAGES, MANIFEST, Prepared, file_of, find_prepared, set_name
from avq.data.resize import FILTER
from avq.data.splits import LEFT_OUT, SPLITS, NameRule, assign, content_fingerprint
from avq.errors import AvqError, UsageError, reason_of
from avq.files import held, read_json, written_whole

OnProgress = Callable[[int, int | None], None]
"""Called with the number of images done, and of all images where that is known."""

_WRITING = "writing-splits"
THREADS = min(4, os.cpu_count() or 1)


class TooManyBad(AvqError):
    """More images are unusable than are accepted: `count`, the first of them in `refused` with the reason."""

    def __init__(self, message: str, count: int, refused: list[str]) -> None:
        super().__init__(message)
        self.count, self.refused = count, refused


@dataclass(frozen=True)
class Outcome:
    """A prepared set, and whether it existed before."""

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
    """Prepare a dataset, or resume that; an existing set from the same source is returned as it is.

    Args:
        card: the dataset; its rule and shares decide the split.
        container: where the images come from; only read.
        size: height and width in pixels.
        output: the folder that will contain the set, as ``<name>-<size>``.
        workers: chunks decoded at once.
        processes: whether workers are processes (of a program that can be imported) or threads.
        max_bad: how many images may be unusable; each is listed, with the reason, in ``images.csv``.
        replace: replace a set from another source.

    Raises:
        UsageError: the output lies in the source, contains another set, or a split would have no image.
        TooManyBad: more than ``max_bad`` images are unusable. The work done so far stays.
    """
    target = output.absolute() / set_name(card.name, size)
    if container.kind == "folder" and target.resolve().is_relative_to(container.path.resolve()):
        raise UsageError(
            f"the output {target} lies inside the source, which is never written to: name another --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    with held(output / f".{target.name}.lock", wait=True):
        if (existing := _existing(output, card, size, container, replace)) is not None:
            return Outcome(existing, reused=True)
        work, job = output / f".{target.name}.part", _job(card, container, size)
        if not _is_complete(work, job):
            _begin(work, job)
            if not (work / _WRITING).exists():
                _decode_all(container, size, work / "chunks", workers, processes, on_progress)
            _finish(card, container, job, work, max_bad)
        shutil.rmtree(work / "chunks", ignore_errors=True)
        for left in (work / "job.json", work / _WRITING, *work.glob(".*")):
            left.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    found = find_prepared(output, card, size)
    assert found is not None
    return Outcome(found, reused=False)


def content_of_source(card: Card, container: Container) -> str:
    """Fingerprint of the files of a source, before any is decoded; that of the set prepared from it, if it uses all.

    Raises:
        UsageError: a file cannot be read.
    """

    def digest(entry: Entry) -> bytes:
        item = _read(entry)
        if item.reason:
            raise UsageError(f"cannot read {container.path}/{item.key}: {item.reason}")
        return hashlib.sha256(item.data).digest()

    keys, rule = list[str](), NameRule(card)

    def named() -> Iterator[Entry]:
        for entry in container.entries():
            keys.append(entry.key)
            rule.see(entry.key)
            yield entry

    with ThreadPoolExecutor(THREADS) as pool:
        # A stream is read in order; files can be read side by side.
        digests = pool.map(digest, named()) if container.kind == "folder" else map(digest, named())
        sources = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    return content_fingerprint(sources, np.array([rule.part(key) for key in keys], np.uint8))


def _existing(output: Path, card: Card, size: int, container: Container, replace: bool) -> Prepared | None:
    """The existing set, if it came from these very images; one that may be replaced does not count."""
    try:
        found = find_prepared(output, card, size)
    except UsageError:
        if not replace:
            raise
        return None
    if found is None or found.came_from(container):
        return found
    if replace:
        return None
    if not found.manifest["counts"]["unusable"] and found.content == content_of_source(card, container):
        return found
    raise UsageError(
        f"{found.folder} was prepared from other images ({found.source_path}): remove it, name another --output, or "
        "give these a name of their own with --as"
    )


def _job(card: Card, container: Container, size: int) -> dict[str, Any]:
    """What the result depends on; work begun for another job cannot be used."""
    libraries = ("libjpeg_turbo", "jpg", "jpg_2000", "zlib", "webp", "avif", "libtiff")
    codecs = {name: features.version(name) or "none" for name in libraries}
    return {
        "format": FORMAT,
        "dataset": card.name,
        "size": size,
        "filter": FILTER,
        "rules": RULES,
        "split": {"rule": card.rule, "indices": card.indices, "shares": card.shares},
        "source": {"kind": container.kind, "path": str(container.path), "signature": container.fingerprint},
        "versions": {"pillow": PIL.__version__, "numpy": np.__version__, **codecs},
    }


def _is_complete(work: Path, job: dict[str, Any]) -> bool:
    """Whether the work for a job only has to be renamed: the manifest is written last."""
    manifest = read_json(work / MANIFEST)
    return bool(manifest) and all(manifest.get(key) == value for key, value in job.items() if key != "split")


def _begin(work: Path, job: dict[str, Any]) -> None:
    """Resume work for the same job, or start afresh."""
    if read_json(work / "job.json") != job:
        shutil.rmtree(work, ignore_errors=True)
        (work / "chunks").mkdir(parents=True)
        (work / "job.json").write_text(json.dumps(job))


def _decode_all(
    container: Container, size: int, folder: Path, workers: int, processes: bool, on_progress: OnProgress | None
) -> None:
    entries, done = container.entries(), 0
    running: set[Future[int]] = set()

    def collect(limit: int) -> None:
        nonlocal running, done
        while len(running) > limit:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            done += sum(future.result() for future in ready)
            if on_progress:
                on_progress(done, container.count)

    with chunks.worker_pool(workers, processes) as pool:
        try:
            for number in count():
                if records := chunks.read_chunk(folder, number):
                    done += sum(1 for _ in islice(entries, len(records)))
                    continue
                if not (batch := _next_chunk(entries)):
                    break
                running.add(pool.submit(chunks.write_chunk, folder, number, size, batch))
                collect(workers)  # one more than the workers take at once, so that none has to wait
            collect(0)
        except BrokenExecutor as error:
            raise AvqError(
                f"a process that decodes was killed after {done:,} images, most likely for want of memory: give the "
                f"same command again with fewer --workers than {workers}; what is done stays"
            ) from error


def _next_chunk(entries: Iterator[Entry]) -> list[Item]:
    items, size = list[Item](), 0
    while len(items) < CHUNK and size < CHUNK_BYTES and (entry := next(entries, None)):
        items.append(_read(entry))
        size += len(items[-1].data)
    return items


def _read(entry: Entry) -> Item:
    try:
        return Item(entry.key, entry.read())
    except Exception as error:  # the readers of all formats raise anything on damaged bytes
        return Item(entry.key, b"", reason_of(error))


def _finish(card: Card, container: Container, job: dict[str, Any], work: Path, max_bad: int) -> None:
    folder = work / "chunks"
    found = gather(card, folder)
    bad = int((~found.usable).sum())
    where = assign(found.pixels[found.usable], found.parts[found.usable], card.shares)
    write_table(folder, work / IMAGES, where)
    if bad > max_bad:
        first = f"{container.path}/{found.refused[0]}" if container.kind == "folder" else found.refused[0]
        which = f"image {first}" if bad == 1 else f"{bad:,} of {len(found.usable):,} images, the first {first}"
        more = [f"refused {one}" for one in found.refused] if bad > 1 else []
        text = f"cannot use {which}. {'It is' if bad == 1 else 'Each is'} named in {work / IMAGES}"
        raise TooManyBad(text, bad, more)
    for split, images in where.counts.items():
        if not images:
            raise UsageError(f"{container.path} has only {len(found.usable):,} images: none falls into {split}")
    if not (ignored := read_json(work / _WRITING)):  # what a tar has besides images is known once it was read
        ignored = dict(container.ignored)
        (work / _WRITING).write_text(json.dumps(ignored))
    write_splits(folder, work, int(job["size"]), where)
    files = [work / name for name in (IMAGES, *map(file_of, SPLITS))]
    counts = {"source": len(found.usable), "unusable": bad, "left_out": int((where.split == LEFT_OUT).sum())}
    manifest = job | {
        "split": job["split"] | {"by_name": found.named},
        "content": content_fingerprint(found.sources[found.usable], found.parts[found.usable]),
        "counts": where.counts | counts,
        "account": {"converted": found.converted, "refused": found.refused, "ignored": ignored},
        "files": {file.name: {"bytes": file.stat().st_size, "sha256": sha256_of_file(file)} for file in files},
    }
    with written_whole(work / MANIFEST) as aside:
        aside.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
