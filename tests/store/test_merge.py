"""What a smaller command leaves of a bigger one's table, and what it must not touch."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import task_fakes
from made_tasks import change_code

from avq import sweep
from avq.errors import UsageError
from avq.files import held, read_json
from avq.models.zoo import VARIANTS
from avq.results import load_results
from avq.store.layout import Store
from avq.store.merge import merge
from avq.store.record import to_csv
from avq.sweep import plan, run
from avq.tasks.events import Event

ROWS = ["aren-1", "aren-1-rpa"]
TIMED = ["training-time", "train-images-per-s", "inference-images-per-s", "peak-memory", "process-memory"]
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


def test_seeds_of_a_row_whose_settings_changed_leave(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant's settings are no part of the ablation's file, nor of the code."""
    entry = VARIANTS["aren-1"]
    monkeypatch.setitem(VARIANTS._entries, "aren-1", replace(entry, settings={**entry.settings, "commitment": 0.5}))
    go(folder, only=["aren-1"], seeds=[2])
    found = load_results(folder / "store/experiments" / NAME).dropna(subset=["seed"])
    pairs = set(zip(found["row"], found["seed"], strict=True))
    assert pairs == {("aren-1", 2), ("aren-1-rpa", 0), ("aren-1-rpa", 1)}


@pytest.mark.parametrize(
    ("module", "remark", "metric"),
    [("avq.training.trainer", "stale: trained by code", ""), ("avq.metrics.error", "stale: measured by other", "mae")],
)
def test_kept_rows_of_other_code_are_stale(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, remark: str, metric: str
) -> None:
    change_code(monkeypatch, module)
    go(folder, only=["aren-1"], seeds=[0])
    found = load_results(folder / "store/experiments" / NAME).dropna(subset=["seed"])
    found = found[found["status"] == "ok"]
    stale = found["reason"].str.startswith(remark)
    new = (found["row"] == "aren-1") & (found["seed"] == 0)
    of = found["metric"].isin([metric] if metric else found["metric"])
    assert (stale == ~new)[of].all()
    assert not stale[found["metric"] == "perplexity"].all() or not metric


def test_stale_rows_outlast_a_smaller_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_code(monkeypatch, "avq.training.trainer")
    go(folder, keep_stale=True)
    before = table(folder)
    go(folder, keep_stale=True, only=["aren-1"], seeds=[0])
    assert table(folder) == before


def test_what_is_damaged_is_made_again(folder: Path) -> None:
    before = load_results(folder / "store")
    store = folder / "store"
    one, other = store.glob("runs/aren-1-synthetic-*")
    shutil.copytree(one, other, dirs_exist_ok=True)
    third = next(store.glob("runs/aren-1-rpa-*"))
    for path in (next(store.glob("costs/*/record.csv")), third / "evaluation-test/per_image.parquet",
                 store / "experiments" / NAME / "plan.json"):  # fmt: skip
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match="give the experiment's command again"):
        load_results(store)
    _, said = go(folder)
    assert any("its table begins anew" in event.text for event in said)
    assert [event.kind for event in said].count("finish") == 2

    def values(frame: pd.DataFrame) -> str:
        return to_csv(frame[~frame["metric"].isin(TIMED)])

    assert values(load_results(store)) == values(before)


def test_two_commands_take_turns_at_a_table(folder: Path) -> None:
    made = plan(folder / "mine.toml", only=["aren-1"], seeds=2, device="cpu")
    place = folder / "store/experiments" / NAME
    for path in (place / "plan.json", place / "table.csv"):
        path.unlink()
    second = threading.Thread(target=merge, args=(made, Store(folder / "store"), {}, "m"))
    with held(place / "lock"):
        second.start()
        second.join(0.5)
        assert not (place / "plan.json").exists()
    second.join()
    assert (place / "table.csv").exists()


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
