"""Prepared sets on disk: ``<name>-<size>/`` with a manifest, a table of images and one file per split (torch-free).

::

    manifest.json   what it is, from what, by which filter, rules and libraries; counts; sha256 of the files
    images.csv      every image of the source: its hashes, its split and place there, or why it has none
    train.npy, validation.npy, test.npy    uint8 [N, size, size, 3], to be memory-mapped
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avq.data.cards import Card
from avq.data.containers import Container, in_words
from avq.data.decode import RULES
from avq.data.hashing import fingerprint_of_values, sha256_of_file
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
    """The file of a split."""
    return f"{split}.npy"


@dataclass(frozen=True)
class Prepared:
    """A prepared set: its folder, and the manifest that `avq.data.prepare` wrote."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def content(self) -> str:
        """Fingerprint of the source's usable files and of what their names say of the split."""
        return str(self.manifest["content"])

    @property
    def counts(self) -> dict[str, int]:
        """Images by split."""
        return {split: int(self.manifest["counts"][split]) for split in SPLITS}

    @property
    def account(self) -> list[str]:
        """What became of the source, in lines: images taken, converted and refused, files ignored."""
        counts, account = self.manifest["counts"], self.manifest.get("account", {})
        converted = dict(account.get("converted", {}))
        parts = [f"{counts['source'] - counts['unusable']:,} images taken"]
        if made := converted.pop("images", 0):
            parts.append(f"{made:,} of them converted ({in_words(converted)})")
        if counts["left_out"]:
            parts.append(f"{counts['left_out']:,} left out as copies of others in validation or test")
        parts.append(f"{counts['unusable']:,} refused" if counts["unusable"] else "none refused")
        lines = [", ".join(parts)]
        if ignored := account.get("ignored"):
            lines.append(f"ignored files: {in_words(ignored)}")
        refused = account.get("refused", [])
        lines += [f"refused {one}" for one in refused]
        if (rest := counts["unusable"] - len(refused)) > 0:
            lines.append(f"refused {rest:,} {'more' if refused else 'images'}, listed in {IMAGES}")
        return lines

    @property
    def source_path(self) -> str:
        return str(self.manifest["source"]["path"])

    def came_from(self, container: Container) -> bool:
        """Whether it was made from exactly these files, judged by their names, sizes and times."""
        source: dict[str, str] = self.manifest["source"]
        return (source["path"], source["signature"]) == (str(container.path), container.fingerprint)

    def images(self, split: str, count: int) -> NDArray[np.uint8]:
        """The first images of a split, memory-mapped: uint8 ``[count, size, size, 3]``; writes stay in memory.

        Raises:
            UsageError: the file is missing, truncated or of another shape.
        """
        path, size = self.folder / file_of(split), int(self.manifest["size"])
        self.check_size(path.name)
        try:
            images: NDArray[np.uint8] = np.load(path, mmap_mode="c")
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({error}): prepare the set again") from error
        if images.dtype != np.uint8 or images.shape != (self.counts[split], size, size, 3):
            raise UsageError(f"{path} is not what its manifest says: prepare the set again")
        return images[:count]

    def fingerprint(self, split: str, count: int) -> str:
        """The fingerprint of the first images of a split, from the manifest alone."""
        return fingerprint_of_values([self.manifest["files"][file_of(split)]["sha256"], count])

    def check_size(self, name: str) -> None:
        """UsageError where a file is missing or has another size than the manifest says."""
        path, expected = self.folder / name, int(self.manifest["files"][name]["bytes"])
        if not path.is_file():
            raise UsageError(f"{path} is missing: prepare the set again")
        if (size := path.stat().st_size) != expected:
            raise UsageError(f"{path} has {size:,} bytes, not {expected:,}: prepare the set again")


def find_prepared(root: Path, card: Card, size: int) -> Prepared | None:
    """The prepared set of a dataset below a root, or None.

    Raises:
        UsageError: it is damaged, of another version, or was made by other rules than today's.
    """
    folder = root / set_name(card.name, size)
    if not (folder / MANIFEST).is_file():
        return None
    prepared = _read_manifest(folder)
    today = {"filter": FILTER, "rules": RULES, "rule": card.rule, "indices": card.indices, "shares": card.shares}
    theirs = prepared.manifest | prepared.manifest["split"]
    if changed := ", ".join(key for key, rule in today.items() if rule != theirs[key]):
        raise UsageError(
            f"{folder} was prepared by other rules than today's ({changed}): remove it and prepare it again"
        )
    for name in map(file_of, SPLITS):
        prepared.check_size(name)
    return prepared


def _read_manifest(folder: Path) -> Prepared:
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
    """The sizes of a dataset's prepared sets below a root."""
    found = (re.fullmatch(rf"{re.escape(name)}-(\d+)", path.parent.name) for path in root.glob(f"*/{MANIFEST}"))
    return sorted(int(match[1]) for match in found if match)


def check(prepared: Prepared) -> None:
    """Verify every file of a set against its manifest, and the table of images against both.

    Raises:
        AvqError: something is not as it was written; the line names it.
    """
    for name, expected in prepared.manifest["files"].items():
        prepared.check_size(name)
        if sha256_of_file(path := prepared.folder / name) != expected["sha256"]:
            raise AvqError(f"{path} is damaged or was changed: its sha256 is not the manifest's. Prepare the set again")
    seen = {split: np.zeros(count, bool) for split, count in prepared.counts.items()}
    split_of: dict[str, str] = {}
    table = prepared.folder / IMAGES
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for line in csv.DictReader(file):
            if not (split := line["split"]):
                continue
            place = int(line["place"])
            if seen[split][place]:
                raise AvqError(f"{table} lists place {place} of {split} twice")
            seen[split][place] = True
            if (other := split_of.setdefault(line["pixels_sha256"], split)) != split:
                raise AvqError(f"{table}: copies of {line['key']} lie in {split} and in {other}")
    for split, places in seen.items():
        if not places.all():
            raise AvqError(f"{table} lacks {int((~places).sum()):,} images of {split}")
