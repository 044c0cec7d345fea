"""The whole room with real models, tiny: a sweep of two rows, its reuse, its staleness, its table."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from made_tasks import ROWS, TINY, change_code

from avq import sweep
from avq.design import evaluations
from avq.design.plan import Plan
from avq.errors import UsageError
from avq.files import read_json, write_json
from avq.results import load_results
from avq.run_status import status
from avq.store.layout import Store, lock
from avq.store.record import COLUMNS, to_csv
from avq.sweep import run
from avq.tasks.events import Event


def go(store: Path, **more: object):
    events: list[Event] = []
    settings = TINY | more.pop("settings", {})  # type: ignore[operator]
    table = run("levels", only=more.pop("only", ROWS), settings=settings, output=store, workers=2, device="cpu",
                on_event=events.append, **more)  # type: ignore[arg-type]  # fmt: skip
    said = " | ".join(event.text for event in events if event.kind == "message")
    return table, said, [event for event in events if event.kind == "start"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    store = tmp_path_factory.mktemp("finished")
    table, _, started = go(store)
    assert len(started) == 2
    return store, table


@pytest.fixture
def store(finished, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "store"))


def test_the_table_is_long_form_with_axes_and_costs(finished) -> None:
    _, table = finished
    assert list(table.columns) == [*COLUMNS, "row", "levels", "attention"]
    assert set(table["row"]) == set(ROWS)
    [name] = table["experiment"].unique()
    assert re.fullmatch("ablation_levels-smoke-synthetic-faces-[0-9a-f]{8}", name)
    for metric in ("mae", "perplexity", "training-time", "params-trainable", "macs", "peak-memory"):
        assert set(table.loc[table["metric"] == metric, "row"]) == set(ROWS), metric
    assert "validation-mae" in set(table["metric"])
    assert table.loc[table["metric"] == "macs", "seed"].isna().all()
    assert not (table["status"] == "failed").any()


def test_a_run_folder_holds_everything(store: Path) -> None:
    folder = next(store.glob("runs/aren-1-*"))
    names = {path.name for path in folder.iterdir()}
    assert names == {"task.json", "environment.json", "checkpoint.safetensors", "log.csv", "record.csv",
                     "progress.json", "lock", "best.safetensors", "evaluation-test"}  # fmt: skip
    inside = {path.name for path in (folder / "evaluation-test").iterdir()}
    assert inside == {"task.json", "record.csv", "per_image.parquet", "lock"}
    assert read_json(folder / "environment.json")["packages"]["torch"]


def test_the_same_command_reuses_and_gives_the_same_table(store: Path, finished) -> None:
    table, said, started = go(store)
    assert started == []
    assert "reusing 2 runs" in said
    assert to_csv(table) == to_csv(finished[1])


def test_load_results_of_a_store_a_folder_and_a_file(store: Path, finished) -> None:
    whole = to_csv(finished[1])
    folder = next(store.glob("experiments/*"))
    for path in (store, folder, folder / "table.csv"):
        assert to_csv(load_results(path)) == whole
    one = load_results(next(store.glob("runs/aren-1-*/evaluation-test/record.csv")))
    assert set(one["row"]) == {"aren-1"}
    with pytest.raises(UsageError, match="no finished experiment"):
        load_results(store / "runs")


def test_fresh_trains_again_to_equal_values(store: Path, finished) -> None:
    table, _, started = go(store, fresh=True)
    assert len(started) == 2
    kinds = ["training-time", "train-images-per-s", "inference-images-per-s", "peak-memory", "process-memory"]
    before, after = (t[~t["metric"].isin(kinds)] for t in (finished[1], table))
    assert to_csv(before) == to_csv(after)


def test_changed_code_trains_again_and_says_so_and_stale_is_marked(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_code(monkeypatch, "avq.training.trainer")
    table, said, started = go(store, keep_stale=True)
    assert started == []
    assert "stale" in said
    marked = table[(table["status"] == "ok") & table["seed"].notna()]
    assert marked["reason"].str.startswith("stale: trained by code ").all()
    assert marked["reason"].str.contains("steps=3").all()
    table, said, started = go(store, only=["aren-1"])
    assert len(started) == 1
    assert "training 1 run again because the code changed" in said
    assert table.loc[table["seed"].notna(), "code"].str.startswith("changed-").all()


def test_a_stale_run_gets_the_metrics_and_the_costs_that_it_lacks(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_code(monkeypatch, "avq.training.trainer")
    change_code(monkeypatch, "avq.evaluation.evaluate")
    shutil.rmtree(store / "costs")
    folder = next(store.glob("runs/aren-1-*"))
    weights = (folder / "checkpoint.safetensors").read_bytes()
    table, _, started = go(store, keep_stale=True, only=["aren-1"])
    assert [event.run for event in started] == [folder.name]
    assert read_json(folder / "evaluation-test" / "task.json")["code"].startswith("changed-")
    assert (folder / "checkpoint.safetensors").read_bytes() == weights
    assert {"macs", "train-images-per-s"} <= set(table["metric"])


def test_changed_metrics_measure_the_checkpoint_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_code(monkeypatch, "avq.evaluation.evaluate")
    folder = next(store.glob("runs/aren-1-*"))
    weights = (folder / "checkpoint.safetensors").read_bytes()
    before = (folder / "evaluation-test" / "record.csv").read_text()
    _, _, started = go(store, only=["aren-1"])
    assert len(started) == 1
    assert (folder / "checkpoint.safetensors").read_bytes() == weights
    assert read_json(folder / "evaluation-test" / "task.json")["code"].startswith("changed-")
    assert (folder / "evaluation-test" / "record.csv").read_text() == before


@pytest.mark.parametrize(("edited", "repeated"), [("avq.evaluation.evaluate", False), ("avq.profiling.cost", True)])
def test_costs_are_measured_again_by_changed_cost_code_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch, edited: str, repeated: bool
) -> None:
    change_code(monkeypatch, edited)
    before = set(store.glob("costs/costs-*"))
    go(store, only=["aren-1"])
    assert bool(set(store.glob("costs/costs-*")) - before) is repeated


def test_a_loss_that_is_nan_is_a_failed_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('question="q"\nexpected="e"\nbase={variant="aren-1"}\n[axes]\nlearning_rate=[1e-3, 1e30]\n')
    settings = TINY | {"steps": 40, "grad_clip": 1e30}
    table = run(path, preset="small", dataset="synthetic-faces", seeds=1, settings=settings, output=tmp_path / "s",
                workers=2, device="cpu")  # fmt: skip
    failed = table[table["status"] == "failed"]
    assert failed["row"].tolist() == ["aren-1[learning_rate=1e+30]"]
    assert "aren-1" in failed["reason"].iloc[0]
    assert "mae" in set(table.loc[table["row"] == "aren-1[learning_rate=0.001]", "metric"])


def test_status_tells_done_waiting_stopped_and_at_work(store: Path) -> None:
    assert {item.state for item in status(store)} == {"done"}
    folder = next(store.glob("runs/aren-1-*"))
    write_json(folder / "progress.json", {"state": "training", "step": 2, "steps": 3})
    assert status(store)[0].state == "stopped"
    with lock(folder):
        assert status(store)[0].state == "training"
    shutil.rmtree(folder)
    assert {item.state for item in status(store)} == {"done", "waiting"}
    with pytest.raises(UsageError, match="no store"):
        status(store / "elsewhere")


def test_a_damaged_record_is_made_again(store: Path) -> None:
    path = next(store.glob("runs/aren-1-*/record.csv"))
    path.write_text(path.read_text()[:40])
    assert Store(store).finished(sweep.plan("levels", only=["aren-1"], settings=TINY).runs[0]) is False
    _, _, started = go(store)
    assert len(started) == 1


def test_a_size_that_strides_do_not_divide_is_said_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"row aren-1: .*34"):
        go(tmp_path / "store", settings={"image_size": 34})
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "smal"}, "did you mean 'small'"),
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),
        ({"only": ["aren-9"]}, "did you mean"),
        ({"settings": {"stepz": 1}}, "did you mean 'steps'"),
        ({"plugins": ["no_such_module"]}, "no_such_module"),
    ],
)
def test_names_that_do_not_exist(tmp_path: Path, arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run("levels", output=tmp_path / "store", **arguments)


def test_tuning_chooses_on_validation_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'question="q"\nexpected="e"\n[[rows]]\nvariant="aren-1"\n[[rows]]\nvariant="vqvae"\nlearning_rate=0.5\n'
        "[tune]\nlearning_rate=[1e-7, 1e-2]\nsteps=3\n"
    )
    from dataclasses import replace

    smoke = sweep.get_preset("smoke")
    monkeypatch.setattr(sweep, "get_preset", lambda _name: replace(smoke, tune=True))
    settings = {name: value for name, value in TINY.items() if name != "learning_rate"}
    table = run(path, settings=settings, output=tmp_path / "store", workers=2, device="cpu")
    kept = read_json(next(tmp_path.glob("store/experiments/mine-smoke-synthetic-faces-*/plan.json")))
    rates = {row["label"]: row["settings"]["learning_rate"] for row in kept["rows"]}
    assert rates["aren-1"] == {"value": 0.01, "origin": "tuned"}
    assert rates["vqvae[learning_rate=0.5]"] == {"value": 0.5, "origin": "row"}
    assert set(table["row"]) == set(rates)


def test_plan_is_the_python_face_of_plan() -> None:
    made = sweep.plan("levels", only=ROWS, settings=TINY, seeds=2)
    assert isinstance(made, Plan)
    assert len(made.runs) == 4


def test_weights_that_have_come_measure_the_checkpoint_again_and_lost_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torchvision.models import squeezenet1_1

    from avq.metrics import weights

    monkeypatch.setattr(weights, "resource_dir", lambda _name: tmp_path)  # without those that the package brings
    store = tmp_path / "store"
    go(store, only=["aren-1"])
    folder = next(path for path in store.glob("runs/aren-1-*") if (path / "checkpoint.safetensors").exists())
    trained = (folder / "checkpoint.safetensors").read_bytes()
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "made.pth")
    digest = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()
    monkeypatch.setitem(
        weights.REGISTRY,
        "squeezenet1_1",
        weights.Weights("squeezenet1_1", (
            weights.WeightsFile("made.pth", digest, (tmp_path / "made.pth").stat().st_size, "made"),)),
    )  # fmt: skip
    monkeypatch.setenv("AVQ_WEIGHTS_DIR", str(tmp_path))
    _, _, started = go(store, only=["aren-1"])
    assert len(started) == 1
    assert (folder / "checkpoint.safetensors").read_bytes() == trained
    measures = read_json(folder / "evaluation-test" / "task.json")["content"]["measures"]
    assert {name for name, measure in measures.items() if measure["weights"]} == {
        "avq.metrics.lpips:squeeze", "avq.metrics.distribution:squeezenet", "avq.metrics.symmetry:symmetry",
        "avq.evaluation.knockout:measure",
    }  # fmt: skip
    monkeypatch.delenv("AVQ_WEIGHTS_DIR")
    assert go(store, only=["aren-1"])[2] == []  # what was measured with them is kept
    monkeypatch.setattr(evaluations, "available", lambda: ())
    assert len(go(store, only=["aren-1"], allow_small=True)[2]) == 1  # asked for anew


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"only": ()}, "--only names no row"),
        ({"seeds": 10**9}, "1,000,000,000 seeds are more than the 1,000"),
        ({"settings": {"width": 10**6}}, r"row aren-1 needs [\d,.]+ GiB of memory at least"),
        ({"settings": {"batch_size": 10**8}}, r"row aren-1 needs [\d,.]+ GiB"),
    ],
)
def test_what_cannot_go_well_is_said_before_anything_starts(
    tmp_path: Path, asked: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run("ablation_levels", output=tmp_path / "store", device="cpu", **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()
