"""A report: its cells say what they load, run again by hand, and leave out what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from avq.design.ablation import Ablation, load_ablation
from avq.errors import UsageError
from avq.files import write_json
from avq.reporting import notebook
from avq.reporting.report import Report

for needed in ("nbformat", "jinja2"):
    pytest.importorskip(needed)

ROWS = ("vqvae", "aren-1", "aren-1-rpa", "aren-1-rpa-mean", "aren-2", "aren-2-rpa-mean", "patch-kmeans")
ABLATION = Ablation(
    name="pair",
    question="Does attention help?",
    expected="yes",
    contrasts=[
        {"name": "attention", "a": "aren-1-rpa-mean", "b": "aren-1"},
        {"name": "not in this table", "a": "aren-9", "b": "aren-1"},
    ],
)


@pytest.fixture
def long(story: pd.DataFrame) -> pd.DataFrame:
    runs = story["row"] + "-s" + story["seed"].astype(str)
    more = {"experiment": "pair-small-cifar10", "preset": "small", "run": runs, "code": "abc"}
    return story.assign(**more).pipe(lambda table: table[[*(name for name in table if name != "row"), "row"]])


@pytest.fixture
def store(long: pd.DataFrame, tmp_path: Path) -> Path:
    """A store without checkpoints: logs, an environment, and a plan with a setting of the user's."""
    for run in long["run"].unique():
        folder = tmp_path / "store" / "runs" / run
        folder.mkdir(parents=True)
        (folder / "log.csv").write_text("\n" if "kmeans" in run else "step,validation-mae\n100,0.06\n200,0.05\n")
        (folder / "environment.json").write_text(json.dumps({"git": "1234", "packages": {"torch": "9.9"}}))
    plan = tmp_path / "store" / "experiments" / "pair-small-cifar10" / "plan.json"
    plan.parent.mkdir(parents=True)
    origins = {"steps": (5, "--set"), "loss": ("a b", "--set"), "code_dim": (4, "default"), "dataset": ("x", "preset")}
    rows = [{"settings": {name: {"value": value, "origin": origin} for name, (value, origin) in origins.items()}}]
    write_json(plan, {"schema_version": 2, "rows": rows, "ablation": ABLATION.model_dump()})
    return tmp_path / "store"


def sources(made) -> str:
    return "\n".join(cell.source for cell in made.cells)


def test_the_answer_comes_first_and_missing_rows_are_no_contrast(long: pd.DataFrame) -> None:
    report = Report(long, ABLATION)
    made = notebook.build(Path("r.csv"), [report], Path(), "avq-bench report r.csv")
    assert made.cells[0].source.startswith("# Does attention help?")
    assert made.cells[2].source == "report.answers()"
    text = repr(report.answers())
    assert "2 comparisons were declared before training, 1 of them between rows of this table" in text
    assert "not in this table" not in text


def test_sections_without_anything_to_show_are_left_out(long: pd.DataFrame, store: Path) -> None:
    bare = sources(notebook.build(Path("r.csv"), [Report(long)], Path(), "c"))
    assert "learning_curves" not in bare
    assert "attention_scaling" not in bare
    assert "effects()" not in bare
    full = sources(notebook.build(Path("r.csv"), [Report(long, ABLATION, store=store)], Path(), "c"))
    assert "learning_curves" in full
    assert "pictures()" not in full  # no checkpoints


def test_paths_in_cells_are_relative_to_the_notebook(long: pd.DataFrame, store: Path) -> None:
    report = Report(long, ABLATION, store=store, split="validation")
    made = notebook.build(store.parent / "r.csv", [report], store.parent / "deep", "c")
    first = made.cells[1].source
    assert "results = '../r.csv'" in first
    assert "store = '../store'" in first
    assert "split='validation'" in first
    assert str(store) not in first


def test_several_experiments_answer_before_any_detail(long: pd.DataFrame) -> None:
    both = pd.concat([long, long.assign(experiment="other-small")], ignore_index=True)
    reports = [Report(both, ABLATION, experiment=name) for name in ("pair-small-cifar10", "other-small")]
    text = sources(notebook.build(Path("r.csv"), reports, Path(), "c"))
    assert text.index("other_small.answers()") < text.index("pair_small_cifar10.quality_table()")
    with pytest.raises(UsageError, match="pair-small-cifar10, other-small"):
        Report(both)


def test_the_command_repeats_exactly_that_experiment(long: pd.DataFrame, store: Path) -> None:
    """As `avq-bench run` reads it: rows, seeds, settings, dataset, and the store as it was given."""
    some = long[long["row"].isin(["aren-1", "vqvae"])]
    levels = load_ablation("ablation_levels")
    words = Report(long, levels).command()
    assert (
        words
        == "avq-bench run ablation_levels --preset small --dataset cifar10 --only " + ",".join(ROWS) + " --seeds 3"
    )
    uneven = some[(some["row"] == "aren-1") | (some["seed"] == 1)]
    assert [line.partition("cifar10 ")[2] for line in Report(uneven, levels).command().splitlines()] == [
        "--only vqvae --seeds 1,", "--only aren-1 --seeds 3"]  # fmt: skip
    smoke = long[long["row"].isin(levels.smoke)].assign(preset="smoke")
    assert "--only" not in Report(smoke, levels).command()
    settings = "--set 'loss=a b' --set steps=5"
    assert Report(some, levels, store=store).command() == (
        f"avq-bench run ablation_levels --preset small {settings} --output {store} --only vqvae,aren-1 --seeds 3"
    )
    assert Report(some, ABLATION).command().startswith("avq-bench run pair.toml ")


def test_the_environment_tells_the_runs_from_the_report(long: pd.DataFrame, store: Path) -> None:
    table = Report(long, ABLATION, store=store).environment().styler.data.set_index("what")
    assert table.loc["torch", "runs"] == "9.9"
    assert table.loc["git", "runs"] == "1234"
    assert table.loc["machine", "runs"] == "two cores"
    assert table.loc["torch", "this report"] not in ("", "9.9")


def test_remarks_of_runs_stand_beside_their_row(long: pd.DataFrame) -> None:
    long.loc[(long["row"] == "vqvae") & (long["status"] == "ok"), "reason"] = "width 48, published 256"
    table = Report(long).rows().styler.data.set_index("row")
    assert table.loc["vqvae", "in these runs"] == "width 48, published 256"
    assert table.loc["aren-1", "in these runs"] == ""


def test_without_a_store_a_line_says_what_is_missing(long: pd.DataFrame, store: Path) -> None:
    report = Report(long, store="/nowhere")
    assert "was not found" in repr(report.learning_curves()[0])
    assert "was not found" in repr(report.pictures()[0])
    (curves,) = Report(long, store=store).learning_curves()
    assert "aren-1 0.0500" in curves.alt
    assert "patch-kmeans" not in curves.alt


@pytest.mark.parametrize(("dataset", "may"), [("cifar10", True), ("synthetic-faces", True), ("celebahq", False)])
def test_images_from_a_persons_folders_are_shown_on_request_only(long: pd.DataFrame, dataset: str, may: bool) -> None:
    assert Report(long)._may_be_shown(dataset) is may
    assert Report(long, all_pictures=True)._may_be_shown(dataset)


def test_what_scale_measured_has_its_picture_and_table_and_no_sections_of_training(tmp_path: Path) -> None:
    cell = {"experiment": "scale-cpu", "preset": "", "dataset": "", "split": "", "seed": 0, "run": "r", "status": "ok",
            "variant": "attention", "metric": "attention-time", "protocol": "attention-time.1:batch=1", "unit": "s",
            "reason": "", "machine": "m", "code": "c", "similarity": "softmax", "implementation": "dense",
            "pass": "forward"}  # fmt: skip
    long = pd.DataFrame([cell | {"latent_size": str(n), "row": f"attention[{n}]", "value": n / 1e3} for n in (16, 32)])
    (tmp_path / "experiments/scale-cpu").mkdir(parents=True)
    write_json(tmp_path / "experiments/scale-cpu/plan.json", {"command": "avq-bench scale --latent-sizes 16,32"})
    report = Report(long, store=tmp_path)
    made = sources(notebook.build(Path("r.csv"), [report], Path(), "c"))
    assert "report.attention_scaling()" in made
    assert "report.scaling_table()" in made
    assert "quality_table" not in made
    assert "avq-bench scale --latent-sizes 16,32\n" in made
    assert report.attention_scaling() is not None
    table = report.scaling_table()
    assert "32x32" in table._repr_html_()
