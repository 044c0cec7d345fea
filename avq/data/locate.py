"""Where a run's images are: in a prepared set, or in a plain folder that is prepared when it is first needed.

For a dataset of files, in this order:

1. the prepared set ``<root>/<name>-<size>``;
2. a plain folder of images at ``<root>/<folder of the card>``: the set that was prepared from it, or will be, in the
   user's cache;
3. where a root was named that has neither: the prepared set in the user's cache, where `data prepare` puts it.

A plain folder and the set prepared from it have the same address. (Torch-free.)
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from avq.data.cards import Card
from avq.data.containers import Container, Unusable, image_files, open_folder, read_file
from avq.data.hashing import address_of_values
from avq.data.prepare import TooManyBad, prepare
from avq.data.prepared import Prepared, find_prepared, prepared_sizes
from avq.data.roots import cache_root, resolve_root
from avq.data.splits import NameRule, content_address
from avq.errors import UsageError

_MOST_THREADS = 4


def content_of(card: Card, root: Path | None, size: int) -> str:
    """Address of a dataset's images, before any is decoded; from the manifest where there is one.

    Raises:
        UsageError: there are no images, or a file cannot be read.
    """
    found = _find(card, root, size)
    if isinstance(found, Prepared):
        return found.content
    there = _own_set(card, found, size)
    if there is not None and there.came_from(found):
        return there.content
    return _address_of_files(card, found)


def prepared_set(card: Card, root: Path | None, size: int) -> Prepared:
    """The prepared set of a dataset; a plain folder becomes one, in the user's cache.

    Raises:
        UsageError: there are no images, some cannot be used, or too few for three splits.
    """
    found = _find(card, root, size)
    if isinstance(found, Prepared):
        return found
    there = _own_set(card, found, size)
    if there is not None and (there.came_from(found) or there.content == _address_of_files(card, found)):
        return there
    try:
        # Threads: a run's process may have no children.
        return prepare(card, found, size, _own_root(found), workers=_threads(), processes=False, replace=True).prepared
    except TooManyBad as error:
        raise UsageError(
            f"{error}. Repair or remove what is damaged in {found.path}, or leave it out: avq-bench data prepare "
            f"{card.name} --source {found.path} --size {size} --max-bad N"
        ) from error


def _find(card: Card, root: Path | None, size: int) -> Prepared | Container:
    where, named = resolve_root(root)
    whole_root = card.folder == "."  # the root itself is the user's folder, and no other is meant
    prepared = find_prepared(where, card, size)
    if prepared is not None:
        return prepared
    folder = where / card.folder
    if (named or not whole_root) and folder.is_dir() and (names := image_files(folder, card.options.get("skip", ""))):
        plain = open_folder(folder.resolve(), names)
        cached = None if where == cache_root() else find_prepared(cache_root(), card, size)
        return cached if cached is not None and cached.came_from(plain) else plain
    if named and not whole_root:
        prepared = find_prepared(cache_root(), card, size)
        if prepared is not None:
            return prepared
    raise _missing(card, folder, {where} if whole_root else {where, cache_root()}, size)


def _missing(card: Card, folder: Path, roots: set[Path], size: int) -> UsageError:
    others = sorted({str(other) for root in roots for other in prepared_sizes(root, card.name)}, key=int)
    if others:
        return UsageError(
            f"{card.name} is prepared at {', '.join(others)} pixels, not at {size}: avq-bench data prepare {card.name} "
            f"--source PATH --size {size}"
        )
    if folder.is_dir():
        return UsageError(f"no image in {folder}: {card.how_to_get}")
    return UsageError(f"{card.name} is not at {folder}: {card.how_to_get}")


def _own_root(plain: Container) -> Path:
    """Where the cache keeps what is prepared from a plain folder by itself."""
    return cache_root() / "from-folders" / address_of_values(str(plain.path))


def _own_set(card: Card, plain: Container, size: int) -> Prepared | None:
    try:
        return find_prepared(_own_root(plain), card, size)
    except UsageError:  # it is our own, and will be made again
        return None


def _address_of_files(card: Card, plain: Container) -> str:
    names = [entry.key for entry in plain.entries()]
    rule = NameRule(card)
    for name in names:
        rule.see(name)

    def digest(name: str) -> bytes:
        try:
            return hashlib.sha256(read_file(plain.path / name)).digest()
        except Unusable as error:
            raise UsageError(f"cannot read {plain.path / name}: {error}") from error

    with ThreadPoolExecutor(_threads()) as pool:
        sources = np.frombuffer(b"".join(pool.map(digest, names)), np.uint8).reshape(-1, 32)
    return content_address(sources, np.array([rule.part(name) for name in names], np.uint8))


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)
