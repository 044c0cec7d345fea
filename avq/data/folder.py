"""A plain folder of images, read recursively.

The split is a property of the pixels: each image goes where the hash of its decoded RGB pixels sends it, so
that adding files moves none, a renamed or repacked file stays where it was, and exact duplicates never
straddle the split.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avq.data.cards import Card
from avq.data.hashing import sha256_of_file
from avq.errors import UsageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_MOST_THREADS = 4


def image_files(card: Card, root: Path) -> list[Path]:
    """Every image file below the card's folder, in the order of their names; hidden files do not count.

    Raises:
        UsageError: no such folder, or no image in it.
    """
    folder = root / card.folder
    if not folder.is_dir():
        raise UsageError(f"{card.name} is not at {folder}: {card.how_to_get}")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise UsageError(f"no image ({', '.join(sorted(SUFFIXES))}) in {folder}: {card.how_to_get}")
    return found


def content_hashes(files: Iterable[Path]) -> list[str]:
    """sha256 of every file's bytes, sorted: neither names nor places count. Nothing is decoded."""
    with ThreadPoolExecutor(_threads()) as pool:
        return sorted(pool.map(sha256_of_file, files))


def load_folder(card: Card, root: Path, size: int) -> dict[str, NDArray[np.uint8]]:
    """Decode every image once: uint8 ``[N, size, size, 3]`` by split, in an order that the pixels fix.

    Orientation tags are obeyed; grey, palette, CMYK and transparent images become RGB as Pillow does it.

    Raises:
        UsageError: files that cannot be decoded or are smaller than ``size`` (how many, and the first one
            with the reason), or a split without an image.
    """
    files = image_files(card, root)
    with ThreadPoolExecutor(_threads()) as pool:
        decoded = list(pool.map(lambda path: _decode(path, size), files))
    damaged = [(path, item) for path, item in zip(files, decoded, strict=True) if isinstance(item, str)]
    if damaged:
        path, reason = damaged[0]
        which = "image" if len(damaged) == 1 else f"{len(damaged):,} of {len(files):,} images, the first"
        raise UsageError(f"cannot use {which} {path}: {reason}. Mend or remove it")
    parts: dict[str, list[tuple[bytes, NDArray[np.uint8]]]] = {"train": [], "validation": [], "test": []}
    for item in decoded:
        assert not isinstance(item, str)
        digest, pixels = item
        parts[_split_of(digest, card.shares)].append((digest[8:], pixels))
    for split, items in parts.items():
        if not items:
            raise UsageError(f"{root / card.folder} has only {len(files)} images: none falls into {split}")
        items.sort(key=lambda item: item[0])
    return {split: np.stack([pixels for _, pixels in items]) for split, items in parts.items()}


def _split_of(digest: bytes, shares: dict[str, float]) -> str:
    """The part that the hash's first eight bytes choose; the others order the images within it."""
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < shares["test"]:
        return "test"
    return "validation" if place < shares["test"] + shares["validation"] else "train"


def _decode(path: Path, size: int) -> tuple[bytes, NDArray[np.uint8]] | str:
    """The hash of the whole image's pixels and its square, or why there is none."""
    from PIL import Image, ImageOps

    from avq.data.resize import fit_square

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
        digest.update(image.tobytes())
        return digest.digest(), fit_square(image, size)
    except Exception as error:  # decoders meet damaged bytes with whatever exception comes first
        return " ".join(str(error).split()) or type(error).__name__


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)
