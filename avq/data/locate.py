"""Where a run's images are: in a prepared set, or in a plain folder, which is prepared when it is first needed.

For a dataset of files, the first that exists of:

1. the prepared set ``<root>/<name>-<size>``;
2. a plain folder of images at ``<root>/<folder of the card>``: the set prepared from it, now or before, in the user's
   cache;
3. where a root was named that has neither: the prepared set in the user's cache, where `data prepare` puts it.

A plain folder and the set prepared from it have the same fingerprint. (Torch-free.)
"""

from __future__ import annotations

from pathlib import Path

from avq.data.cards import Card
from avq.data.containers import Container
from avq.data.folders import look_into
from avq.data.hashing import fingerprint_of_values
from avq.data.prepare import THREADS, TooManyBad, content_of_source, prepare
from avq.data.prepared import Prepared, find_prepared, prepared_sizes
from avq.data.roots import cache_root, resolve_root
from avq.errors import UsageError


def content_of(card: Card, root: Path | None, size: int) -> str:
    """Fingerprint of a dataset's files, before any is decoded; of a prepared set, from its manifest.

    Raises:
        UsageError: there are no images, or a file cannot be read.
    """
    found = _find(card, root, size)
    if isinstance(found, Prepared):
        return found.content
    cached = _cached_set(card, found, size)
    return cached.content if cached is not None and cached.came_from(found) else content_of_source(card, found)


def prepared_set(card: Card, root: Path | None, size: int) -> Prepared:
    """The prepared set of a dataset; a plain folder is prepared, in the user's cache.

    Raises:
        UsageError: there are no images, some cannot be used, or too few for three splits.
    """
    found = _find(card, root, size)
    if isinstance(found, Prepared):
        return found
    cached = _cached_set(card, found, size)
    if cached is not None and (cached.came_from(found) or cached.content == content_of_source(card, found)):
        return cached
    try:  # with threads: the process of a run may not be allowed children
        return prepare(card, found, size, _cache_of(found), workers=THREADS, processes=False, replace=True).prepared
    except TooManyBad as error:
        raise UsageError(
            f"{error}. Repair or remove what is damaged in {found.path}, or leave it out: avq-bench data prepare "
            f"{card.name} --source {found.path} --size {size} --max-bad N"
        ) from error


def _find(card: Card, root: Path | None, size: int) -> Prepared | Container:
    where, named = resolve_root(root)
    whole_root = card.folder == "."  # the root itself is the user's folder, and no other is meant
    if (prepared := find_prepared(where, card, size)) is not None:
        return prepared
    folder = where / card.folder
    may_be_plain = (named or not whole_root) and folder.is_dir()
    if may_be_plain and (found := look_into(folder.resolve(), card.options.get("skip", ""))).images:
        plain = found.as_container()
        cached = None if where == cache_root() else find_prepared(cache_root(), card, size)
        return cached if cached is not None and cached.came_from(plain) else plain
    if named and not whole_root and (prepared := find_prepared(cache_root(), card, size)) is not None:
        return prepared
    roots = {where} if whole_root else {where, cache_root()}
    others = sorted({other for place in roots for other in prepared_sizes(place, card.name)})
    if others:
        raise UsageError(
            f"{card.name} is prepared at {', '.join(map(str, others))} pixels, not at {size}: avq-bench data prepare "
            f"{card.name} --source PATH --size {size}"
        )
    missing = f"no image in {folder}" if folder.is_dir() else f"{card.name} is not at {folder}"
    raise UsageError(f"{missing}: {card.how_to_get}")


def _cache_of(plain: Container) -> Path:
    """The folder of the cache for sets that runs prepare from a plain folder."""
    return cache_root() / "from-folders" / fingerprint_of_values(str(plain.path))


def _cached_set(card: Card, plain: Container, size: int) -> Prepared | None:
    try:
        return find_prepared(_cache_of(plain), card, size)
    except UsageError:  # it is our own, and will be prepared again
        return None
