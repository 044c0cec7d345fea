"""ARCHITECTURE.md is true: rooms import one way, walks follow imports, files that it names are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sorted((ROOT / "avq").rglob("*.py"))}
(PICTURE,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
ROOMS = [line.split()[0] for line in PICTURE.splitlines()]
# Siblings that know nothing of each other.
BESIDE = {frozenset(("metrics", "data")), frozenset(("profiling", "external"))}
SWEEP = re.findall(r"\w+(?=\.py)", next(line for line in PICTURE.splitlines() if line.startswith("sweep")))
WALKS = re.findall(r"^(\w[\w ]+):\n\n((?:\d+\. .*\n)+)", PAGE, re.MULTILINE)


def room(module: str) -> str:
    name = module.split(".")[1]
    return "sweep" if name in SWEEP else name if name in ROOMS else "base"


def imports(module: str) -> Iterator[str]:
    """Modules of avq that a module imports anywhere, but for type checkers."""
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    hidden = {node for block in blocks for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node not in hidden:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in names)
        elif isinstance(node, ast.Import) and node not in hidden:
            yield from (alias.name for alias in node.names)


def neighbours(module: str) -> set[str]:
    """What a module imports, and what it names as "module:attribute"; the package `avq` is the face of a sweep."""
    named = set(re.findall(r'"(avq(?:\.\w+)+)(?::\w+)?"', FILES[module].read_text(encoding="utf-8")))
    found = {*imports(module), *named}
    return found | ({"avq.sweep"} if "avq" in found else set())


def test_every_room_is_in_the_picture() -> None:
    folders = {path.name for path in (ROOT / "avq").iterdir() if (path / "__init__.py").is_file()}
    assert folders <= set(ROOMS)
    alone = {path.stem for path in (ROOT / "avq").glob("*.py")} - {"__init__", "__main__"}
    assert alone == {*SWEEP, *re.findall(r"\w+(?=\.py)", PICTURE.splitlines()[-1])}


@pytest.mark.parametrize("module", sorted(FILES))
def test_rooms_import_one_way(module: str) -> None:
    if module in ("avq.__init__", "avq.__main__"):  # the face, which imports when it is asked
        return
    own = room(module)
    for other in imports(module):
        if other in FILES and other != "avq.__init__" and room(other) != own:
            assert ROOMS.index(room(other)) > ROOMS.index(own), f"{module} imports {other}, a room above"
            assert frozenset((own, room(other))) not in BESIDE


@pytest.mark.parametrize(("name", "walk"), WALKS, ids=[name for name, _ in WALKS])
def test_walks_follow_the_imports(name: str, walk: str) -> None:
    """At most eight stops, each imported by, importing, or named in, one before it."""
    stops = [file.removesuffix(".py").replace("/", ".") for file in re.findall(r"`(avq/[\w/]+\.py)`", walk)]
    assert 2 <= len(stops) == walk.count("\n") <= 8
    for at, stop in enumerate(stops[1:], start=1):
        before = stops[:at]
        near = set().union(*map(neighbours, before)) | ({stop} if neighbours(stop) & set(before) else set())
        assert stop in near, f"{name}: how does one get to {stop}?"


def test_files_that_it_names_are_there() -> None:
    for name in re.findall(r"`([\w/]+\.(?:py|toml))`", PAGE):
        assert (ROOT / name).exists() or (ROOT / "avq" / name).exists(), name
    assert len(WALKS) == 4
    assert len(PAGE.splitlines()) < 140, "one page"
