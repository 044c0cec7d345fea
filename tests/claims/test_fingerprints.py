"""What a change of the code does to the fingerprints of work that is done: each of these edits, in a copy of avq."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avq.design.code import ROOT

# Everything that a sweep over six rows would do, by name: {task: fingerprint}.
ASK = """
import json, sys
from pathlib import Path
from avq.design.ablation import Ablation
from avq.design.plan import Choices, make_plan
from avq.design.presets import get_preset
from avq.store.assembly import costs_of
from avq.tasks.evaluate import evaluation_of
rows = [{"variant": "aren-1"}, {"variant": "aren-1-rpa"}, {"variant": "vqvae"}, {"variant": "patch-kmeans"},
        {"variant": "aren-1", "adversarial": "bce", "label": "x"} if False else {"variant": "aren-1", "adversarial": "bce"},
        {"variant": "aren-1", "perceptual": "squeeze"}]
ablation = Ablation(name="x", question="q", expected="e", rows=rows, smoke=[])
plan = make_plan(ablation, get_preset("small"), Choices({}, dataset="synthetic-faces", seeds=1), data_root=None, device="cpu")
told = {}
for entry in plan.entries:
    label = entry.row.label
    evaluation = evaluation_of(entry.run)
    told[f"train {label}"] = entry.run.name
    told[f"evaluate {label}"] = evaluation.code
    told[f"costs {label}"] = costs_of(entry.run, "m").name
    told |= {f"{name} of {label}": code for name, code in evaluation.measures.items()}
print(json.dumps(told))
"""
ROWS = {"aren-1", "aren-1-rpa", "vqvae", "patch-kmeans", "aren-1[adversarial=bce]", "aren-1[perceptual=squeeze]"}


def ask(package: Path) -> dict[str, str]:
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    done = subprocess.run([sys.executable, "-c", ASK], cwd=package.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the package as it is, with the folders that travel with it, and its fingerprints."""
    home = tmp_path_factory.mktemp("original")
    package = Path(shutil.copytree(ROOT, home / "avq", ignore=shutil.ignore_patterns("__pycache__")))
    for folder in ("ablations", "datasets"):
        shutil.copytree(ROOT.parent / folder, package / f"_{folder}")
    return package, ask(package)


@pytest.fixture
def edited(original: tuple[Path, dict[str, str]], tmp_path: Path) -> Callable[..., set[str]]:
    """Replaces text in a file of a copy; gives the names of what has another fingerprint then."""
    package = Path(shutil.copytree(original[0], tmp_path / "avq"))

    def edit(file: str, old: str, new: str) -> set[str]:
        path = package / file
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new, 1) if old else text + new)
        now = ask(package)
        return {name for name, fingerprint in original[1].items() if now[name] != fingerprint}

    return edit


def trains(rows: set[str]) -> set[str]:
    return {f"train {row}" for row in rows}


def trained(changed: set[str]) -> set[str]:
    return {name.partition(" ")[2] for name in changed if name.startswith("train ")}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/config.py", "    levels: int =", '    zeal: float = _setting(0.5, help="how hard")\n    levels: int ='),
        ("training/config.py", "    batch_size: int =", '    zeal: int = setting(5, help="x")\n    batch_size: int ='),
        ("models/autoencoder.py", '"""', '"""Of all autoencoders: '),
        ("evaluation/evaluate.py", '"""', '"""In other words: '),
        ("reporting/tables.py", "", "\nmore = 1\n"),
        ("cli/main.py", "", "\nmore = 1\n"),
        ("store/record.py", "", "\nmore = 1\n"),
        ("errors.py", "", "\nmore = 1\n"),
        ("data/containers.py", "", "\nmore = 1\n"),
        ("_datasets/mine.toml", "", 'kind = "folder"\nsummary = "s"\nsource = "s"\nlicence = "l"\ndefault_size = 32\n'
         "flip = true\nshares = { validation = 0.1, test = 0.2 }\n"),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)  # fmt: skip
def test_nothing_is_done_again_for_what_changes_no_number(edited: Callable[..., set[str]], file: str, old: str, new: str):
    assert edited(file, old, new) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "rows"),
    [
        ("training/perceptual.py", "", "\nmore = 1\n", {"aren-1[perceptual=squeeze]"}),
        ("training/adversarial.py", "", "\nmore = 1\n", {"aren-1[adversarial=bce]"}),
        ("models/attention.py", "", "\nmore = 1\n", {"aren-1-rpa"}),
        ("models/blocks.py", "", "\nmore = 1\n", ROWS - {"patch-kmeans"}),
        ("training/fresh.py", "", "\nmore = 1\n", ROWS),
        ("data/facepaint.py", "", "\nmore = 1\n", ROWS),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)  # fmt: skip
def test_what_is_made_of_changed_code_is_trained_again_and_nothing_else(
    edited: Callable[..., set[str]], file: str, old: str, new: str, rows: set[str]
) -> None:
    assert trained(edited(file, old, new)) == rows
