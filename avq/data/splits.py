"""Which split an image belongs to: a property of the data, never of a run (torch-free).

A dataset's card names one of three rules:

- ``hash``: the hash of the whole image's decoded pixels decides. Added files move no other, and names and containers do
  not matter.
- ``index``: where the source has every canonical index exactly once, the index decides: the last share is test, the
  one before it validation. Otherwise the hash decides.
- ``own``: where the source has both parts, its ``val`` (or ``validation``) is test, and the hash holds validation out
  of its ``train``. Otherwise the hash decides.

Copies (images with equal pixels) have one hash and so one split. Where names would separate them, those in test, or
else in validation, stay and the others are left out.
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
    """What names say of the split, once `see` was called with all of them."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._times = np.zeros(card.indices, np.int64)
        self._own: set[Part] = set()

    def see(self, key: str) -> None:
        if self._card.rule == "index" and (index := self._index(key)) is not None:
            self._times[index] += 1
        if self._card.rule == "own":
            self._own.add(_own_part(key))

    @property
    def applies(self) -> bool:
        """Whether the names seen decide the split."""
        if self._card.rule == "index":
            return bool((self._times == 1).all())
        return {Part.OWN_TRAIN, Part.TEST} <= self._own

    def part(self, key: str) -> Part:
        """What a name says; nothing unless the rule applies."""
        if self._card.rule == "own" and self.applies:
            return _own_part(key)
        index = self._index(key) if self.applies else None
        if index is None:
            return Part.NOTHING
        test = self._card.indices - round(self._card.indices * self._card.shares["test"])
        if index >= test:
            return Part.TEST
        validation = test - round(self._card.indices * self._card.shares["validation"])
        return Part.VALIDATION if index >= validation else Part.TRAIN

    def _index(self, key: str) -> int | None:
        match = _INDEX.fullmatch(PurePosixPath(key).name)
        return int(match[1]) if match and int(match[1]) < self._card.indices else None


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
        copy_of: int64 ``[N]``, for images left out the number of the copy that stays; else -1.
        counts: images by split.
    """

    split: NDArray[np.int8]
    place: NDArray[np.int64]
    copy_of: NDArray[np.int64]
    counts: dict[str, int]


def assign(pixels: Digests, parts: NDArray[np.uint8], shares: dict[str, float]) -> Assignment:
    """Assign every image a split and a place there.

    Args:
        pixels: hashes of the whole images' decoded pixels.
        parts: what the names say, uint8 ``[N]`` of `Part`.
        shares: the shares of "validation" and "test".
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
    place, counts = np.full(len(pixels), -1, np.int64), {}
    for number, name in enumerate(SPLITS):
        members = np.flatnonzero(split == number)
        words = _words(pixels[members])
        place[members[np.lexsort((words[:, 3], words[:, 2], words[:, 1]))]] = np.arange(len(members))
        counts[name] = len(members)
    return Assignment(split, place, copy_of, counts)


def content_fingerprint(sources: Digests, parts: NDArray[np.uint8]) -> str:
    """Fingerprint of a set of image files and of what their names say; order and container do not count."""
    tagged = sources.copy()
    for number in np.flatnonzero(parts):
        digest = hashlib.sha256(bytes([parts[number]]) + sources[number].tobytes()).digest()
        tagged[number] = np.frombuffer(digest, np.uint8)
    words = _words(tagged)
    tagged = tagged[np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))]
    return hashlib.sha256(tagged.tobytes()).hexdigest()[:DIGITS]


def _by_hash(pixels: Digests, shares: dict[str, float]) -> NDArray[np.int8]:
    """The first eight bytes choose the split; the others order the images within it."""
    place = _words(pixels)[:, 0].astype(np.float64) / 2**64
    chosen = np.where(place < shares["test"] + shares["validation"], 1, 0)
    return np.where(place < shares["test"], 2, chosen).astype(np.int8)


def _copies_elsewhere(pixels: Digests, split: NDArray[np.int8]) -> NDArray[np.int64]:
    """For each image with a copy in a split that takes precedence, the number of that copy."""
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
