"""Dataset cards: what a dataset is, where it comes from, and how it is split; one TOML file each (torch-free).

Cards ship with the suite; others are found in the folders named by `register_cards`, ``--cards`` or ``$AVQ_DATASETS``,
and in installed packages with an entry point of the group ``avq.datasets``, whose value is the package with the files.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from avq.data import roots
from avq.errors import UsageError, unknown
from avq.files import written_whole
from avq.resources import resource_dir
from avq.toml import STRICT, parse, read_toml

ENVIRONMENT_VARIABLE = "AVQ_DATASETS"
ENTRY_POINTS = "avq.datasets"

_HOW_TO_GET = "run `avq-bench data prepare` on its images, with --source"

Share = Annotated[float, Field(gt=0, lt=1)]


class Download(BaseModel):
    """A file to download; its `name` is that of the local file, its `sha256` is empty where none was published."""

    model_config = STRICT

    url: str
    name: str
    bytes: int
    sha256: str = ""


class Card(BaseModel):
    """The card of one dataset.

    Attributes:
        name: the card's file name without ``.toml``; the value of ``--dataset``.
        kind: which reader loads it.
        native_size: side of the images as published, in pixels; 0 where they have any size.
        default_size: side used where a run names none.
        flip: whether training images are mirrored at random.
        split: the rule, in words.
        how_to_get: instructions for a user without the files.
        folder: of the files, below the data root; by default the name, for the kind "folder".
        checksums: sha256 by file name; `sizes`: bytes by file name.
        images: images by split ("train", "validation", "test"), where they are known beforehand.
        shares: shares of the images for "validation" and "test"; for the kind "folder".
        rule: what decides the split of images from files: see `avq.data.splits`.
        indices: number of canonical indices, for the rule "index".
        expected: images of the whole dataset, by the name of a part; a source may have fewer.
        downloads: files for `data fetch`, in order.
        terms: what a user must agree to before downloading; may be empty.
        options: settings of the kind.
    """

    model_config = STRICT

    name: str
    kind: Literal["synthetic-faces", "cifar10", "folder"]
    summary: str
    source: str
    licence: str
    citation: str = ""
    native_size: int = 0
    default_size: int
    flip: bool
    split: str = ""
    how_to_get: str = _HOW_TO_GET
    folder: Annotated[str, Field(validate_default=True)] = ""
    checksums: dict[str, str] = {}
    sizes: dict[str, int] = {}
    images: dict[str, int] = {}
    shares: Annotated[dict[str, Share], Field(validate_default=True)] = {}
    rule: Literal["hash", "index", "own"] = "hash"
    indices: int = 0
    expected: dict[str, int] = {}
    downloads: Annotated[tuple[Download, ...], Field(strict=False)] = ()
    terms: str = ""
    options: dict[str, str] = {}

    @property
    def shows_faces(self) -> bool:
        """Whether the pictures are faces: drawn ones, or the card says so."""
        return self.kind == "synthetic-faces" or self.options.get("subject") == "faces"

    @field_validator("folder")
    @classmethod
    def _own_folder(cls, folder: str, info: ValidationInfo) -> str:
        return folder or (info.data["name"] if info.data.get("kind") == "folder" else "")

    @field_validator("shares")
    @classmethod
    def _both_shares(cls, shares: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if info.data.get("kind") == "folder" and (shares.keys() != {"validation", "test"} or sum(shares.values()) >= 1):
            raise ValueError("a folder needs shares of validation and of test, together below 1")
        return shares


def register_cards(folder: str | Path) -> None:
    """Also find the cards of a folder: in this process, and in those that it starts. UsageError if it is no folder."""
    named = [_cards_folder(str(folder)), *named_folders()]
    os.environ[ENVIRONMENT_VARIABLE] = os.pathsep.join(dict.fromkeys(map(str, named)))


def named_folders() -> list[Path]:
    """The folders of cards that the user named. UsageError where one does not exist."""
    return [_cards_folder(name) for name in os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep) if name]


def _cards_folder(name: str) -> Path:
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"cards folder {folder} (from --cards or ${ENVIRONMENT_VARIABLE}) is not a folder")
    return folder


def own_folder(root: Path) -> Path:
    """Where a data root has the cards of what was prepared into it under names of its own."""
    return root / "cards"


def _own_folders() -> set[Path]:
    named = os.environ.get(roots.ENVIRONMENT_VARIABLE)
    return {own_folder(root) for root in (roots.cache_root(), Path(named or roots.cache_root()).expanduser())}


@cache
def _installed_folders() -> list[Path]:
    folders: list[Path] = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            spec = find_spec(point.value)
        except ImportError:  # of the package that holds it
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise UsageError(f"entry point {point.name} of {ENTRY_POINTS}: '{point.value}' is not a package")
        folders += map(Path, spec.submodule_search_locations)
    return folders


def card_files() -> dict[str, Path]:
    """The file of every dataset, by name in alphabetical order.

    Raises:
        UsageError: two different cards have one name.
    """
    found: dict[str, Path] = {}
    for folder in (resource_dir("datasets"), *_installed_folders(), *named_folders(), *_own_folders()):
        for path in folder.glob("*.toml"):
            first = found.setdefault(path.stem, path)
            if first != path and first.read_bytes() != path.read_bytes():
                raise UsageError(f"two dataset cards are called '{path.stem}': {first} and {path}; rename one.")
    return dict(sorted(found.items()))


def reader(card: Card) -> str:
    """The module that reads a dataset's images."""
    return "avq.data.read_" + {"synthetic-faces": "drawn", "cifar10": "cifar10", "folder": "prepared"}[card.kind]


def list_datasets() -> list[str]:
    """The names of all datasets, in alphabetical order."""
    return list(card_files())


def get_card(name: str) -> Card:
    """The card of a dataset.

    Raises:
        UsageError: unknown dataset, or its card is damaged.
    """
    files = card_files()
    if name not in files:
        own = "your own: --cards FOLDER, or avq-bench data prepare folder --source PATH --as NAME"
        raise unknown("dataset", name, files, f"Known: {', '.join(files)}; {own}")
    card = _read_card(path := files[name])
    if card.kind != "folder" and path.parent != resource_dir("datasets"):
        raise UsageError(f"{path}: kind '{card.kind}' is the suite's own; a card of yours is of kind 'folder'.")
    return card


def named_card(base: Card, name: str) -> Card:
    """The card of images of one's own, split by the rule of another dataset.

    Raises:
        UsageError: the name cannot be a folder's, or is that of another dataset.
    """
    if not re.fullmatch(r"[a-zA-Z0-9][\w.-]*", name):
        raise UsageError(f"'{name}' cannot be the name of a dataset: use letters, digits, '.', '-' and '_'")
    summary = f"images of your own, prepared as {base.name}"
    own = {"name": name, "folder": name, "summary": summary, "how_to_get": _HOW_TO_GET, "expected": {}, "downloads": ()}
    card = base.model_copy(update=own)
    if name in (files := card_files()) and get_card(name) != card:
        raise UsageError(f"there is another dataset called '{name}' ({files[name]}): choose another name")
    return card


def write_card(card: Card, folder: Path) -> None:
    """Write a card where `card_files` finds it."""
    values = card.model_dump(exclude={"name"}, exclude_defaults=True)
    lines = [f"{key} = {_toml(value)}\n" for key, value in values.items()]
    with written_whole(folder / f"{card.name}.toml") as aside:
        aside.write_text("".join(lines), encoding="utf-8")


def _toml(value: Any) -> str:
    """A text, number or boolean, or a table of these; of those, TOML's forms are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


@cache
def _read_card(path: Path) -> Card:
    return parse(Card, read_toml(path, "dataset card"), path)
