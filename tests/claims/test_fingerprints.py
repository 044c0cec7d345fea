"""What a change of the code does to the fingerprints of work that is done: each of these edits, in a copy of avq."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from avq.design import parts
from avq.design.code import ROOT, code_fingerprint

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
AUTOENCODERS = ROWS - {"patch-kmeans"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with the folders that travel with it."""
    package = Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "avq"))
    for folder in ("ablations", "datasets"):
        shutil.copytree(ROOT.parent / folder, package / f"_{folder}")
    return package


@pytest.fixture(scope="module")
def original() -> dict[str, str]:
    return planned()


Edit = Callable[..., set[str]]


@pytest.fixture
def edited(original: dict[str, str], package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Puts texts in the place of others in files of a copy; gives the names of what has another fingerprint then.

    With `run`, the copy plans in a process of its own; else this one does, and follows the copy's files.
    """
    with ExitStack() as stack:

        def edit(*edits: tuple[str, str, str], run: bool = False) -> set[str]:
            for file, old, new in edits:
                path = package / file
                text = path.read_text() if path.exists() else ""
                assert old in text
                stack.callback(path.write_text, text) if path.exists() else stack.callback(path.unlink)
                path.write_text(text.replace(old, new, 1) if old else text + new)
            if run:
                now = planned_by(package.parent)
            else:
                monkeypatch.setattr(parts, "code_fingerprint", partial(code_fingerprint.__wrapped__, root=package))
                now = planned()
            return {name for name, fingerprint in original.items() if now[name] != fingerprint}

        yield edit


def planned_by(home: Path) -> dict[str, str]:
    places = {"PYTHONPATH": f"{home}{os.pathsep}{Path(__file__).parent}", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", ASK]
    done = subprocess.run(words, cwd=home, env=os.environ | places, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def of(kind: str, changed: set[str]) -> set[str]:
    return {name.removeprefix(f"{kind} ") for name in changed if name.startswith(f"{kind} ")}


CARD = """kind = "folder"
summary = "s"
source = "s"
licence = "l"
default_size = 32
flip = true
shares = { validation = 0.1, test = 0.2 }
"""


def shown(value: object) -> str:
    return value if "/" in str(value) else ""


def test_new_settings_and_parts_have_nothing_done_again(edited: Edit) -> None:
    field = '    {0}: int = setting(5, help="how hard")\n'
    changed = edited(
        ("models/config.py", "    levels: int =", field.format("depth") + "    levels: int ="),
        ("training/config.py", "    batch_size: int =", field.format("zeal") + "    batch_size: int ="),
        ("training/config.py", '(("steps", ', '(("steps", "zeal", '),
        ("models/variants.py", "", '\nregister_variant("mine", summary="of mine", levels=2)\n'),
        ("models/quantizers/built_in.py", "", '\nregister_quantizer("mine", "there.is:None", summary="of mine")\n'),
        ("_datasets/mine.toml", "", CARD),
        run=True,
    )
    assert changed == set()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/autoencoder.py", '"""', '"""Of all autoencoders: '),
        ("evaluation/evaluate.py", '"""', '"""In other words: '),
        ("metrics/error.py", 'label="MAE"', 'label="mean error"'),
        ("metrics/codebook.py", "place=70", "place=71"),
        ("metrics/registry.py", '"avq.metrics.codebook",', '"avq.metrics.codebook", "avq.metrics.mine",'),
        ("models/autoencoder.py", "raise UsageError(f", "raise UsageError('sorry: ' + f"),
        ("reporting/tables.py", "ddof=1", "ddof=0"),
        ("profiling/growth.py", "LEAST_SIDE = 64", "LEAST_SIDE = 32"),
        ("cli/main.py", "args[0]", "args[-1]"),
        ("store/record.py", "SCHEMA_VERSION = 2", "SCHEMA_VERSION = 3"),
        ("tasks/train.py", '"starting"', '"beginning"'),
        ("models/config.py", "not 0 < self.ema_decay", "not 0.5 < self.ema_decay"),
        ("errors.py", "cutoff=0.5", "cutoff=0.6"),
        ("data/archives.py", "found += 1", "found += 2"),
    ],
    ids=shown,
)
def test_what_changes_no_number_has_nothing_done_again(edited: Edit, file: str, old: str, new: str) -> None:
    assert edited((file, old, new)) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "rows", "evaluated"),
    [
        ("training/perceptual.py", "distance.mean()", "distance.sum()", {"aren-1[perceptual=squeeze]"}, set()),
        ("training/adversarial.py", "1e4", "1e3", {"aren-1[adversarial=bce]"}, set()),
        ("models/attention.py", "weights / pixels", "weights", {"aren-1-rpa"}, {"aren-1-rpa"}),
        ("models/patch_kmeans.py", "ROUNDS = 30", "ROUNDS = 31", {"patch-kmeans"}, {"patch-kmeans"}),
        ("models/blocks.py", "3, padding=1", "5, padding=2", AUTOENCODERS, AUTOENCODERS),
        ("models/quantizers/vq.py", '"code_counts", torch.ones', '"code_counts", torch.zeros', *(2 * [AUTOENCODERS])),
        ("training/fresh.py", "manual_seed(", "manual_seed(1 + ", ROWS, set()),
        ("training/trainer.py", "2**20", "2**19", ROWS, set()),
        ("training/checkpoint.py", "averaged is not None", "averaged is None", ROWS, ROWS),
        ("data/facepaint.py", "_GAP = 0.13", "_GAP = 0.14", ROWS, ROWS),
    ],
    ids=shown,
)
def test_what_is_made_of_changed_code_is_done_again_and_nothing_else(
    edited: Edit, file: str, old: str, new: str, rows: set[str], evaluated: set[str]
) -> None:
    """The evaluation follows the model's code too, which may change under a run that is kept as stale."""
    changed = edited((file, old, new))
    assert of("train", changed) == rows
    assert of("evaluate", changed) == evaluated


def test_a_registration_counts_by_what_it_names(edited: Edit) -> None:
    changed = edited(("models/quantizers/built_in.py", "vq:from_config", "vq:VectorQuantizer"), run=True)
    assert of("train", changed) == of("costs", changed) == of("evaluate", changed) == AUTOENCODERS


def test_whether_images_show_faces_has_them_measured_again(edited: Edit) -> None:
    changed = edited(("data/cards.py", 'self.kind == "synthetic-faces" or', ""), run=True)
    assert changed == {f"evaluate {row}" for row in ROWS}


@pytest.mark.parametrize(
    ("file", "old", "new", "measures"),
    [
        ("metrics/structure.py", "_SIGMA = 11, 1.5", "_SIGMA = 11, 2.0",
         {"avq.metrics.structure:ssim", "avq.metrics.structure:ms_ssim"}),
        ("metrics/features.py", "0.485", "0.5",
         {"avq.metrics.distribution:inception", "avq.metrics.distribution:squeezenet"}),
        ("evaluation/gap.py", "math.hypot", "max", {"avq.evaluation.gap:measure"}),
        ("metrics/lpips.py", 'Metric("lpips-alex",', 'Metric("lpips-alex", version=2,', {"avq.metrics.lpips:alex"}),
    ],
    ids=shown,
)  # fmt: skip
def test_a_changed_measure_is_measured_again_and_no_other(
    edited: Edit, file: str, old: str, new: str, measures: set[str]
) -> None:
    assert edited((file, old, new), run="version" in new) == {f"measure {name}" for name in measures}
