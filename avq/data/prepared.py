"""Prepared sets on disk: ``<name>-<size>/`` with a manifest, a table of images and one file a split (torch-free).

::

    manifest.json   what it is, from what, by which filter, rules and libraries; counts; sha256 of the files
    images.csv      every image of the source: its hashes, its split and place there, or why it has none
    train.npy, validation.npy, test.npy    uint8 [N, size, size, 3], to be memory-mapped
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avq.data.cards import Card
from avq.data.containers import Container
from avq.data.decode import RULES
from avq.data.hashing import address_of_values, sha256_of_file
from avq.data.resize import FILTER
from avq.data.splits import SPLITS
from avq.errors import AvqError, UsageError

FORMAT = 1
MANIFEST = "manifest.json"
IMAGES = "images.csv"


def set_name(name: str, size: int) -> str:
    """The folder of a set."""
    return f"{name}-{size}"


def file_of(split: str) -> str:
    """The file that holds a split."""
    return f"{split}.npy"


@dataclass(frozen=True)
class Prepared:
    """A prepared set.

    Attributes:
        folder: where it is.
        manifest: what `avq.data.prepare` wrote.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def content(self) -> str:
        """Address of the source's usable files and of what their names say of the split."""
        return str(self.manifest["content"])

    @property
    def counts(self) -> dict[str, int]:
        """Images by split."""
        return {split: int(self.manifest["counts"][split]) for split in SPLITS}

    @property
    def source_path(self) -> str:
        return str(self.manifest["source"]["path"])

    def came_from(self, container: Container) -> bool:
        """Whether it was made from exactly these files, as far as names, sizes and times tell."""
        source: dict[str, str] = self.manifest["source"]
        return (source["path"], source["signature"]) == (str(container.path), container.signature)

    def images(self, split: str, count: int) -> NDArray[np.uint8]:
        """The first images of a split, memory-mapped: uint8 ``[count, size, size, 3]``; writes stay in memory.

        Raises:
            UsageError: the file is missing, cut off or of another shape.
        """
        path, size = self.folder / file_of(split), int(self.manifest["size"])
        _see_size(self, file_of(split))
        try:
            images: NDArray[np.uint8] = np.load(path, mmap_mode="c")
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({error}): prepare the set again") from error
        if images.dtype != np.uint8 or images.shape != (self.counts[split], size, size, 3):
            raise UsageError(f"{path} is not what its manifest says: prepare the set again")
        return images[:count]

    def address(self, split: str, count: int) -> str:
        """Address of the first images of a split, from the manifest alone."""
        return address_of_values([self.manifest["files"][file_of(split)]["sha256"], count])


def find_prepared(root: Path, card: Card, size: int) -> Prepared | None:
    """The prepared set of a dataset below a root, if there is one.

    Raises:
        UsageError: it is damaged, or was made by other rules than today's.
    """
    folder = root / set_name(card.name, size)
    if not (folder / MANIFEST).is_file():
        return None
    prepared = read_prepared(folder)
    split = prepared.manifest["split"]
    today = {"filter": FILTER, "rules": RULES, "rule": card.rule, "indices": card.indices, "shares": card.shares}
    theirs = {"filter": prepared.manifest["filter"], "rules": prepared.manifest["rules"]}
    theirs |= {key: split[key] for key in ("rule", "indices", "shares")}
    if today != theirs:
        changed = ", ".join(key for key in today if today[key] != theirs[key])
        raise UsageError(
            f"{folder} was prepared by other rules than today's ({changed}): remove it and prepare it again"
        )
    for name in map(file_of, SPLITS):
        _see_size(prepared, name)
    return prepared


def read_prepared(folder: Path) -> Prepared:
    """Read a manifest.

    Raises:
        UsageError: it is damaged, or of another version.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise UsageError(f"{folder} is of format {manifest['format']}, not {FORMAT}: prepare it again")
        prepared = Prepared(folder, manifest)
        _ = (prepared.counts, prepared.content, prepared.source_path, manifest["filter"], manifest["rules"])
        _ = [manifest["files"][name]["sha256"] for name in (IMAGES, *map(file_of, SPLITS))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged: remove {folder} and prepare it again") from error
    return prepared


def prepared_sizes(root: Path, name: str) -> list[int]:
    """The sizes at which a dataset lies prepared below a root."""
    found = (re.fullmatch(rf"{re.escape(name)}-(\d+)", path.parent.name) for path in root.glob(f"*/{MANIFEST}"))
    return sorted(int(match[1]) for match in found if match)


def check(prepared: Prepared) -> None:
    """Verify every file of a set against its manifest, and the table of images against both.

    Raises:
        AvqError: something is not as it was written; the line names it.
    """
    for name, expected in prepared.manifest["files"].items():
        path = prepared.folder / name
        _see_size(prepared, name)
        if sha256_of_file(path) != expected["sha256"]:
            raise AvqError(f"{path} is damaged or was changed: its sha256 is not the manifest's. Prepare the set again")
    seen = {split: np.zeros(count, bool) for split, count in prepared.counts.items()}
    home: dict[bytes, str] = {}
    for line in _table(prepared.folder / IMAGES):
        if not line["split"]:
            continue
        split, place, pixels = line["split"], int(line["place"]), bytes.fromhex(line["pixels_sha256"])
        if seen[split][place]:
            raise AvqError(f"{prepared.folder / IMAGES} gives place {place} of {split} twice")
        seen[split][place] = True
        if home.setdefault(pixels, split) != split:
            raise AvqError(f"{prepared.folder / IMAGES}: copies of {line['key']} lie in {split} and in {home[pixels]}")
    for split, places in seen.items():
        if not places.all():
            raise AvqError(f"{prepared.folder / IMAGES} lacks {int((~places).sum()):,} images of {split}")


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file)


def _see_size(prepared: Prepared, name: str) -> None:
    path, expected = prepared.folder / name, int(prepared.manifest["files"][name]["bytes"])
    if not path.is_file():
        raise UsageError(f"{path} is missing: prepare the set again")
    if (size := path.stat().st_size) != expected:
        raise UsageError(f"{path} has {size:,} bytes, not {expected:,}: prepare the set again")
