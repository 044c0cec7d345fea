"""Dataset cards: what a dataset is, where it comes from, and how it is split (torch-free)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from avq.errors import AvqError, unknown
from avq.resources import resource_dir

Kind = Literal["synthetic-faces", "cifar10", "folder"]
KINDS: tuple[Kind, ...] = ("synthetic-faces", "cifar10", "folder")
Rule = Literal["hash", "index", "own"]
RULES: tuple[Rule, ...] = ("hash", "index", "own")


@dataclass(frozen=True)
class Download:
    """A file to be fetched.

    Attributes:
        url: where from.
        name: what it is called here.
        bytes: its size.
        sha256: of the whole file; empty where nobody has published one.
    """

    url: str
    name: str
    bytes: int
    sha256: str = ""


@dataclass(frozen=True)
class Card:
    """One file of ``datasets/``.

    Attributes:
        name: the file's name without ``.toml``; what ``--dataset`` takes.
        kind: which source reads it.
        native_size: side of the images as published, in pixels; 0 where there is none (any size, or many).
        default_size: side used where a run names none.
        flip: whether training images are mirrored at random.
        split: the rule, in words.
        how_to_get: what a person without the files does.
        folder: where the files lie below the data root; empty where there are none.
        checksums: sha256 by file name.
        sizes: bytes by file name.
        images: images by split ("train", "validation", "test"), where they are known beforehand.
        shares: share of the images that go to "validation" and "test".
        rule: what decides the split of images from files: see `avq.data.splits`.
        indices: how many canonical indices there are, for the rule "index".
        expected: images that the whole dataset has, by the name of a part; a source may hold fewer.
        downloads: files that `data fetch` gets, in order.
        terms: what a person must agree to before fetching; empty where nothing.
        options: what is particular to the kind.
    """

    name: str
    kind: Kind
    summary: str
    source: str
    licence: str
    citation: str
    native_size: int
    default_size: int
    flip: bool
    split: str
    how_to_get: str
    folder: str = ""
    checksums: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    rule: Rule = "hash"
    indices: int = 0
    expected: dict[str, int] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
    terms: str = ""
    options: dict[str, str] = field(default_factory=dict)


def list_datasets() -> list[str]:
    """Names of all datasets, in alphabetical order."""
    return sorted(path.stem for path in resource_dir("datasets").glob("*.toml"))


@cache
def get_card(name: str) -> Card:
    """Read the card of a dataset.

    Raises:
        UsageError: there is no such dataset.
        AvqError: the card itself is damaged.
    """
    if name not in list_datasets():
        raise unknown("dataset", name, list_datasets())
    return parse_card(name, resource_dir("datasets") / f"{name}.toml")


def parse_card(name: str, path: Path) -> Card:
    """Read one card file, strictly.

    Raises:
        AvqError: not TOML, an unknown key, a missing key or an unknown kind.
    """
    try:
        values: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AvqError(f"dataset card {path} cannot be read: {error}") from error
    known = {f.name for f in fields(Card)} - {"name"}
    needed = {f.name for f in fields(Card) if f.default is f.default_factory is MISSING} - {"name"}
    for key in sorted(values.keys() - known):
        raise AvqError(f"dataset card {path}: {unknown('key', key, known)}")
    if missing := sorted(needed - values.keys()):
        raise AvqError(f"dataset card {path} lacks {', '.join(missing)}")
    if values["kind"] not in KINDS:
        raise AvqError(f"dataset card {path}: {unknown('kind', str(values['kind']), KINDS)}")
    if values.get("rule", "hash") not in RULES:
        raise AvqError(f"dataset card {path}: {unknown('rule', str(values['rule']), RULES)}")
    try:
        downloads = tuple(Download(**download) for download in values.get("downloads", ()))
    except TypeError as error:
        raise AvqError(f"dataset card {path}, downloads: {error}") from error
    return Card(name=name, **{**values, "downloads": downloads})
