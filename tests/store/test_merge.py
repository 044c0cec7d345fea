"""What a smaller command leaves of a bigger one's table, and what it must not touch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import task_fakes
from made_tasks import change_code

from avq import sweep
from avq.files import read_json
from avq.results import load_results
from avq.sweep import run
from avq.tasks.events import Event

ROWS = ["aren-1", "aren-1-rpa"]
# Tiny by its file, so that the experiment is a plain one, without --set.
FILE = """question="q"
expected="e"
base={steps=3,batch_size=4,width=4,code_dim=8,codebook_size=8,train_images=16,validation_images=8,test_images=8,validate_every=2}
[[rows]]
variant="aren-1"
[[rows]]
variant="aren-1-rpa"
"""
NAME = "mine-smoke-synthetic-faces"


def go(folder: Path, **more: object):
    said: list[Event] = []
    arguments = {"seeds": 2, "workers": 2, "device": "cpu", "on_event": said.append} | more
    return run(folder / "mine.toml", output=folder / "store", **arguments), said  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    (folder / "mine.toml").write_text(FILE)
    go(folder)
    return folder


@pytest.fixture
def folder(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "copy"))


def table(folder: Path) -> bytes:
    return (folder / "store/experiments" / NAME / "table.csv").read_bytes()


@pytest.mark.parametrize("subset", [{"only": ["aren-1"]}, {"seeds": [1]}, {"only": ["aren-1-rpa"], "seeds": [0]}])
def test_a_subset_leaves_the_whole_table(folder: Path, subset: dict) -> None:
    before = table(folder)
    own, _ = go(folder, **subset)
    assert set(own["row"]) == set(subset.get("only", ROWS))
    assert table(folder) == before
    kept = read_json(folder / "store/experiments" / NAME / "plan.json")
    assert [(item["row"], item["seed"]) for item in kept["runs"]] == [(row, seed) for row in ROWS for seed in (0, 1)]


def test_a_new_seed_joins_and_what_is_gone_leaves(folder: Path) -> None:
    shutil.rmtree(next(folder.glob("store/runs/aren-1-rpa-*-s1-*")))
    go(folder, only=["aren-1"], seeds=[2])
    found = load_results(folder / "store/experiments" / NAME).dropna(subset=["seed"])
    pairs = set(zip(found["row"], found["seed"], strict=True))
    assert pairs == {("aren-1", 0), ("aren-1", 1), ("aren-1", 2), ("aren-1-rpa", 0)}


def test_kept_rows_of_other_code_are_stale(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_code(monkeypatch, "avq.training.trainer")
    go(folder, only=["aren-1"], seeds=[0])
    found = load_results(folder / "store/experiments" / NAME).dropna(subset=["seed"])
    found = found[found["status"] == "ok"]
    stale = found["reason"].str.startswith("stale: trained by code")
    new = (found["row"] == "aren-1") & (found["seed"] == 0)
    assert (stale == ~new).all()


def test_another_ablation_of_that_name_starts_anew(folder: Path) -> None:
    (folder / "mine.toml").write_text(FILE.replace("steps=3", "steps=2"))
    go(folder, only=["aren-1"])
    assert set(load_results(folder / "store/experiments" / NAME)["row"]) == {"aren-1"}


def test_set_makes_an_experiment_of_its_own_and_says_so_in_every_row(folder: Path) -> None:
    before = table(folder)
    own, _ = go(folder, only=["aren-1"], seeds=[0], settings={"steps": 5})
    assert table(folder) == before
    [name] = own["experiment"].unique()
    assert name.startswith(f"{NAME}-")
    assert own.loc[own["status"] == "ok", "reason"].str.contains("steps=5", regex=False).all()
    again, _ = go(folder, only=["aren-1"], seeds=[0], settings={"steps": 4})
    assert again["experiment"].iloc[0] not in (name, NAME)


def test_costs_that_fail_are_failed_rows_and_are_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder / "store/costs")
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "run_task", task_fakes.refuse)
        own, said = go(folder, only=["aren-1"])
    failed = own[own["status"] == "failed"]
    assert set(failed["metric"]) == {"train-images-per-s", "inference-images-per-s", "peak-memory"}
    assert failed["seed"].isna().all()
    assert failed["reason"].unique().tolist() == ["no such thing"]
    assert "fail" in {event.kind for event in said}
    own, _ = go(folder, only=["aren-1"])
    assert not (own["status"] == "failed").any()
    assert "train-images-per-s" in set(own["metric"])
