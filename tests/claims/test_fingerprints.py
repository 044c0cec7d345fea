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
import json
from avq.design.ablation import Ablation
from avq.design.plan import Choices, make_plan
from avq.design.presets import get_preset
from avq.store.assembly import costs_of
from avq.tasks.evaluate import evaluation_of

rows = [{"variant": "aren-1"}, {"variant": "aren-1-rpa"}, {"variant": "vqvae"}, {"variant": "patch-kmeans"},
        {"variant": "aren-1", "adversarial": "bce"}, {"variant": "aren-1", "perceptual": "squeeze"}]
ablation = Ablation(name="x", question="q", expected="e", rows=rows, smoke=[])
choices = Choices({}, dataset="synthetic-faces", seeds=1)
plan = make_plan(ablation, get_preset("small"), choices, data_root=None, device="cpu")
told = {}
for entry in plan.entries:
    label, evaluation = entry.row.label, evaluation_of(entry.run)
    told[f"train {label}"] = entry.run.name
    told[f"evaluate {label}"] = evaluation.code
    told[f"costs {label}"] = costs_of(entry.run, "m").name
    told |= {f"measure {name}": measure["code"] for name, measure in evaluation.measures.items()}
print(json.dumps(told))
"""
ROWS = {"aren-1", "aren-1-rpa", "vqvae", "patch-kmeans", "aren-1[adversarial=bce]", "aren-1[perceptual=squeeze]"}


def ask(package: Path) -> dict[str, str]:
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=package.parent, env=environment, capture_output=True, text=True, check=False
    )
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


def trained(changed: set[str]) -> set[str]:
    return {name.partition(" ")[2] for name in changed if name.startswith("train ")}


def measured(changed: set[str]) -> set[str]:
    return {name.partition(" ")[2] for name in changed if name.startswith("measure ")}


FIELD = '    {0}: int = setting(5, help="how hard")\n'
CARD = """kind = "folder"
summary = "s"
source = "s"
licence = "l"
default_size = 32
flip = true
shares = { validation = 0.1, test = 0.2 }
"""
METRIC = """
from avq.metrics.registry import Metric, register_metric
register_metric(Metric("mine", title="of mine", label="mine", measured_by="avq.metrics.error:MeanSquaredError"))
"""


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/config.py", "    levels: int =", FIELD.format("zeal") + "    levels: int ="),
        ("training/config.py", "    batch_size: int =", FIELD.format("zeal") + "    batch_size: int ="),
        ("models/autoencoder.py", '"""', '"""Of all autoencoders: '),
        ("evaluation/evaluate.py", '"""', '"""In other words: '),
        ("metrics/error.py", 'label="MAE"', 'label="mean error"'),
        ("metrics/codebook.py", 'place=70', 'place=71'),
        ("models/variants.py", "", '\nregister_variant("mine", summary="of mine", levels=2)\n'),
        ("models/quantizers/built_in.py", "", '\nregister_quantizer("mine", "there.is:None", summary="of mine")\n'),
        ("_datasets/mine.toml", "", CARD),
        ("reporting/tables.py", "", "\nmore = 1\n"),
        ("profiling/growth.py", "", "\nmore = 1\n"),
        ("cli/main.py", "", "\nmore = 1\n"),
        ("store/record.py", "", "\nmore = 1\n"),
        ("tasks/train.py", "", "\nmore = 1\n"),
        ("errors.py", "", "\nmore = 1\n"),
        ("data/archives.py", "", "\nmore = 1\n"),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)
def test_what_changes_no_number_has_nothing_done_again(
    edited: Callable[..., set[str]], file: str, old: str, new: str
) -> None:
    assert edited(file, old, new) == set()


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("training/perceptual.py", {"aren-1[perceptual=squeeze]"}),
        ("training/adversarial.py", {"aren-1[adversarial=bce]"}),
        ("models/attention.py", {"aren-1-rpa"}),
        ("models/patch_kmeans.py", {"patch-kmeans"}),
        ("models/blocks.py", ROWS - {"patch-kmeans"}),
        ("models/quantizers/vq.py", ROWS - {"patch-kmeans"}),
        ("training/fresh.py", ROWS),
        ("training/trainer.py", ROWS),
        ("data/facepaint.py", ROWS),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)
def test_what_is_made_of_changed_code_is_trained_again_and_nothing_else(
    edited: Callable[..., set[str]], file: str, rows: set[str]
) -> None:
    assert trained(edited(file, "", "\nmore = 1\n")) == rows


@pytest.mark.parametrize(
    ("file", "old", "new", "measures"),
    [
        ("metrics/structure.py", "", "\nmore = 1\n", {"avq.metrics.structure:ssim", "avq.metrics.structure:ms_ssim"}),
        ("evaluation/gap.py", "", "\nmore = 1\n", {"avq.evaluation.gap:measure"}),
        ("metrics/lpips.py", 'Metric("lpips-alex",', 'Metric("lpips-alex", version=2,', {"avq.metrics.lpips:alex"}),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)
def test_a_changed_measure_is_measured_again_and_no_other(
    edited: Callable[..., set[str]], file: str, old: str, new: str, measures: set[str]
) -> None:
    changed = edited(file, old, new)
    assert measured(changed) == measures
    assert changed == {f"measure {name}" for name in measures}
