"""Which split an image belongs to: a property of the data, never of a run (torch-free).

Three rules, named by a dataset's card:

- ``hash``: the hash of the whole image's decoded pixels decides. Adding files moves none, and neither a name nor a
  container matters.
- ``index``: where the source holds every canonical index exactly once, the index decides; the last share is test, the
  one before it validation. Else the hash.
- ``own``: where the source has both, its ``val`` (or ``validation``) is test, and of its ``train`` the hash holds out
  validation. Else the hash.

Copies, images whose pixels are equal, fall together by the hash. Where names decide and would part them, those in
the part that counts more (test, then validation) stay and the others are left out.
"""

from __future__ import annotations

import hashlib
import re
from enum import IntEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avq.data.hashing import DIGITS

if TYPE_CHECKING:
    from avq.data.cards import Card

SPLITS = ("train", "validation", "test")
LEFT_OUT = -1

Digests = NDArray[np.uint8]
"""sha256 digests, uint8 ``[N, 32]``."""

_INDEX = re.compile(r"(?:imgHQ|img)?(\d{1,8})\.[A-Za-z]+")
_OWN = re.compile(r"(?:^|[/_])(train|val|validation)(?=[-_./]|$)")


class Part(IntEnum):
    """What the name of an image says about its split."""

    NOTHING = 0
    TRAIN = 1
    VALIDATION = 2
    TEST = 3
    OWN_TRAIN = 4


class NameRule:
    """What names say, once all of them have been seen."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._times = np.zeros(card.indices, np.int64)
        self._own: set[Part] = set()

    def see(self, key: str) -> None:
        """Take note of a name."""
        if self._card.rule == "index" and (index := self._index(key)) is not None:
            self._times[index] += 1
        if self._card.rule == "own":
            self._own.add(_own_part(key))

    @property
    def applies(self) -> bool:
        """Whether the names that were seen decide anything."""
        if self._card.rule == "index":
            return bool((self._times == 1).all())
        return {Part.OWN_TRAIN, Part.TEST} <= self._own

    def part(self, key: str) -> Part:
        """What a name says; nothing unless the rule applies."""
        if not self.applies:
            return Part.NOTHING
        if self._card.rule == "own":
            return _own_part(key)
        index = self._index(key)
        if index is None:
            return Part.NOTHING
        test = self._card.indices - round(self._card.indices * self._card.shares["test"])
        if index >= test:
            return Part.TEST
        validation = test - round(self._card.indices * self._card.shares["validation"])
        return Part.VALIDATION if index >= validation else Part.TRAIN

    def _index(self, key: str) -> int | None:
        match = _INDEX.fullmatch(PurePosixPath(key).name)
        index = int(match[1]) if match else None
        return index if index is not None and index < self._card.indices else None


def _own_part(key: str) -> Part:
    match = _OWN.search(PurePosixPath(key).parent.as_posix())
    if match is None:
        return Part.NOTHING
    return Part.OWN_TRAIN if match[1] == "train" else Part.TEST


class Assignment(NamedTuple):
    """Where images go.

    Attributes:
        split: int8 ``[N]``, an index into `SPLITS`, or `LEFT_OUT`.
        place: int64 ``[N]``, from 0 within the split, in the order of the pixels' hashes; -1 where left out.
        copy_of: int64 ``[N]``, for what is left out the number of the copy that stays; else -1.
        counts: images by split.
    """

    split: NDArray[np.int8]
    place: NDArray[np.int64]
    copy_of: NDArray[np.int64]
    counts: dict[str, int]


def assign(pixels: Digests, parts: NDArray[np.uint8], shares: dict[str, float]) -> Assignment:
    """Send every image to its split and to its place there.

    Args:
        pixels: hashes of the whole images' decoded pixels.
        parts: what the names say, uint8 ``[N]`` of `Part`.
        shares: the share of "validation" and of "test".
    """
    split = _by_hash(pixels, shares)
    named = parts != Part.NOTHING
    by_name = np.array([0, 0, 1, 2, 0], np.int8)[parts]
    held_out = (parts == Part.OWN_TRAIN) & (split == SPLITS.index("validation"))
    split = np.where(named & ~held_out, by_name, split).astype(np.int8)
    copy_of = np.full(len(pixels), -1, np.int64)
    if named.any():
        copy_of = _copies_elsewhere(pixels, split)
        split[copy_of >= 0] = LEFT_OUT
    place = np.full(len(pixels), -1, np.int64)
    counts = {}
    for number, name in enumerate(SPLITS):
        members = np.flatnonzero(split == number)
        words = _words(pixels[members])
        place[members[np.lexsort((words[:, 3], words[:, 2], words[:, 1]))]] = np.arange(len(members))
        counts[name] = len(members)
    return Assignment(split, place, copy_of, counts)


def content_address(sources: Digests, parts: NDArray[np.uint8]) -> str:
    """Address of a set of image files and of what names say of them; neither order nor container counts."""
    tagged = sources.copy()
    for number in np.flatnonzero(parts):
        tagged[number] = np.frombuffer(
            hashlib.sha256(bytes([parts[number]]) + sources[number].tobytes()).digest(), np.uint8
        )
    words = _words(tagged)
    tagged = tagged[np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))]
    return hashlib.sha256(tagged.tobytes()).hexdigest()[:DIGITS]


def _by_hash(pixels: Digests, shares: dict[str, float]) -> NDArray[np.int8]:
    """The first eight bytes choose the split; the others order the images within it."""
    place = _words(pixels)[:, 0].astype(np.float64) / 2**64
    chosen = np.where(place < shares["test"] + shares["validation"], 1, 0)
    return np.where(place < shares["test"], 2, chosen).astype(np.int8)


def _copies_elsewhere(pixels: Digests, split: NDArray[np.int8]) -> NDArray[np.int64]:
    """For each image with a copy in a split that counts more, the number of that copy."""
    words = _words(pixels)
    order = np.lexsort((-split, *words.T[::-1]))
    fresh = np.ones(len(order), bool)
    fresh[1:] = (words[order[1:]] != words[order[:-1]]).any(1)
    first = order[np.flatnonzero(fresh)[np.cumsum(fresh) - 1]]
    copy_of = np.full(len(order), -1, np.int64)
    parted = split[order] != split[first]
    copy_of[order[parted]] = first[parted]
    return copy_of


def _words(digests: Digests) -> NDArray[np.uint64]:
    """The digests as four big-endian numbers each: ``[N, 4]``."""
    return np.ascontiguousarray(digests).view(">u8").astype(np.uint64).reshape(-1, 4)
