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

from avq.design import parts
from avq.design.code import ROOT, closure, files_fingerprint

# Everything that a sweep over six rows would do, by name.
ASK = """
import json
from test_fingerprints import planned
print(json.dumps(planned()))
"""


def planned() -> dict[str, str]:
    from avq.design.ablation import Ablation
    from avq.design.evaluations import evaluation_of
    from avq.design.plan import Choices, make_plan
    from avq.design.presets import get_preset
    from avq.store.assembly import costs_of

    rows = [{"variant": "aren-1"}, {"variant": "aren-1-rpa"}, {"variant": "vqvae"}, {"variant": "patch-kmeans"},
            {"variant": "aren-1", "adversarial": "bce"}, {"variant": "aren-1", "perceptual": "squeeze"}]  # fmt: skip
    ablation = Ablation(name="x", question="q", expected="e", rows=rows, smoke=[])
    choices = Choices({}, dataset="synthetic-faces", seeds=1)
    plan = make_plan(ablation, get_preset("small"), choices, data_root=None, device="cpu")
    found = {}
    for entry in plan.entries:
        label, evaluation = entry.row.label, evaluation_of(entry.run)
        found[f"train {label}"] = entry.run.name
        found[f"evaluate {label}"] = evaluation.code
        found[f"costs {label}"] = costs_of(entry.run, "m").name
        found |= {f"measure {name}": measure["code"] for name, measure in evaluation.measures.items()}
    return found


ROWS = {"aren-1", "aren-1-rpa", "vqvae", "patch-kmeans", "aren-1[adversarial=bce]", "aren-1[perceptual=squeeze]"}


def copied(home: Path) -> Path:
    """A copy of the package, with the folders that travel with it."""
    package = Path(shutil.copytree(ROOT, home / "avq", ignore=shutil.ignore_patterns("__pycache__")))
    for folder in ("ablations", "datasets"):
        shutil.copytree(ROOT.parent / folder, package / f"_{folder}")
    return package


@pytest.fixture(scope="module")
def original() -> dict[str, str]:
    return planned()


@pytest.fixture
def edited(original: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """Puts text in the place of other text in a file of a copy; gives the names of what has another fingerprint then.

    With `run`, the copy plans in a process of its own; else this one does, and follows the copy's files.
    """
    package = copied(tmp_path)

    def edit(file: str, old: str, new: str, run: bool = False) -> set[str]:
        path = package / file
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else text + new)
        if run:
            environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent}"}
            words = [sys.executable, "-c", ASK]
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            now = json.loads(done.stdout)
        else:
            monkeypatch.setattr(parts, "code_fingerprint", lambda modules: files_fingerprint(closure(modules, package)))
            now = planned()
        return {name for name, fingerprint in original.items() if now[name] != fingerprint}

    return edit


def trained(changed: set[str]) -> set[str]:
    return {name.partition(" ")[2] for name in changed if name.startswith("train ")}


def measured(changed: set[str]) -> set[str]:
    return {name.partition(" ")[2] for name in changed if name.startswith("measure ")}


MORE = "\nmore = 1\n"
FIELD = '    {0}: int = setting(5, help="how hard")\n'
CARD = """kind = "folder"
summary = "s"
source = "s"
licence = "l"
default_size = 32
flip = true
shares = { validation = 0.1, test = 0.2 }
"""


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/config.py", "    levels: int =", FIELD.format("zeal") + "    levels: int ="),
        ("training/config.py", "    batch_size: int =", FIELD.format("zeal") + "    batch_size: int ="),
        ("models/variants.py", "", '\nregister_variant("mine", summary="of mine", levels=2)\n'),
        ("models/quantizers/built_in.py", "", '\nregister_quantizer("mine", "there.is:None", summary="of mine")\n'),
        ("_datasets/mine.toml", "", CARD),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)
def test_new_settings_and_parts_have_nothing_done_again(
    edited: Callable[..., set[str]], file: str, old: str, new: str
) -> None:
    assert edited(file, old, new, run=True) == set()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/autoencoder.py", '"""', '"""Of all autoencoders: '),
        ("evaluation/evaluate.py", '"""', '"""In other words: '),
        ("metrics/error.py", 'label="MAE"', 'label="mean error"'),
        ("metrics/codebook.py", "place=70", "place=71"),
        ("models/autoencoder.py", "raise UsageError(f", "raise UsageError('sorry: ' + f"),
        *((file, "", MORE) for file in (
            "reporting/tables.py", "profiling/growth.py", "cli/main.py", "store/record.py", "tasks/train.py",
            "errors.py", "data/archives.py",
        )),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)  # fmt: skip
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
    assert trained(edited(file, "", MORE)) == rows


@pytest.mark.parametrize(
    ("file", "old", "new", "measures"),
    [
        ("metrics/structure.py", "", MORE, {"avq.metrics.structure:ssim", "avq.metrics.structure:ms_ssim"}),
        ("evaluation/gap.py", "", MORE, {"avq.evaluation.gap:measure"}),
        ("metrics/lpips.py", 'Metric("lpips-alex",', 'Metric("lpips-alex", version=2,', {"avq.metrics.lpips:alex"}),
    ],
    ids=lambda value: value if "/" in str(value) else "",
)
def test_a_changed_measure_is_measured_again_and_no_other(
    edited: Callable[..., set[str]], file: str, old: str, new: str, measures: set[str]
) -> None:
    changed = edited(file, old, new, run="version" in new)
    assert measured(changed) == measures
    assert changed == {f"measure {name}" for name in measures}
