"""What the README shows is true: marked blocks are carried out in order, in one empty folder.

A block counts when a comment stands above it: ``<!-- run -->`` carries it out as it is, ``<!-- run: smoke -->`` does so
with work that takes minutes (preset smoke), ``<!-- run: checkpoint -->`` needs the shipped checkpoint, and
``<!-- run: file NAME -->`` saves it under that name for the blocks that follow.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    how: str
    language: str
    text: str


BLOCKS = [
    Block(how.strip(" :"), language, text)
    for how, language, text in re.findall(r"<!-- run(.*?) -->\n```(\w+)\n(.*?)```", README, re.DOTALL)
]


def test_blocks_are_found():
    assert README.count("<!-- run") == len(BLOCKS)
    assert {"", "smoke", "checkpoint"} <= {block.how for block in BLOCKS}


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+) {2,}", README))
    assert {"demo", "test"} <= named <= targets


def test_every_command_that_is_named_exists():
    from avq.cli.main import COMMANDS

    named = set(re.findall(r"^ *avq-bench ([a-z]+)", README, re.MULTILINE))
    assert named <= set(COMMANDS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_commands_of_the_readme(tmp_path):
    environment = _environment(tmp_path)
    folder = tmp_path / "work"
    folder.mkdir()
    _draw_photo(folder / "photo.jpg")
    for block in BLOCKS:
        if block.how.startswith("file "):
            (folder / block.how.removeprefix("file ")).write_text(block.text)
        elif block.how == "checkpoint" and not list((ROOT / "avq" / "_checkpoints").glob("*.safetensors")):
            continue
        elif block.language == "python":
            _carry_out([sys.executable, "-c", block.text], folder, environment)
        else:
            for line in block.text.splitlines():
                _carry_out(["bash", "-c", line], folder, environment)
    for experiment in (folder / "avq-runs" / "experiments").iterdir():
        left = {path.name for path in experiment.iterdir()}
        assert {"plan.json", "table.csv", "reconstructions.png"} <= left, experiment.name


def _environment(tmp_path: Path) -> dict[str, str]:
    """The command in front of PATH, whether avq-bench is installed or only checked out."""
    command = tmp_path / "bin" / "avq-bench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from avq.cli.main import cli; cli()" "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}


def _draw_photo(path: Path) -> None:
    from PIL import Image

    Image.radial_gradient("L").convert("RGB").resize((90, 60)).save(path)


def _carry_out(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
