"""`table`, `run`, `train`, `status`: what they print about results, and how they call Python."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest

import avq
from avq.design.ablation import Ablation
from avq.errors import Stopped
from avq.files import write_json
from avq.run_status import RunStatus
from avq.store.record import COLUMNS, to_csv
from avq.tasks.events import Event

MAE = {"a": (0.050, 0.051, 0.049), "b": (0.080, 0.081, 0.079)}
PAIR = Ablation(
    name="pair",
    question="Is a better than b?",
    expected="yes",
    rows=[{"variant": "aren-1"}, {"variant": "vqvae"}],
    contrasts=[{"name": "a against b", "a": "a", "b": "b"}, {"name": "not there", "a": "a", "b": "z"}],
)


def cell(row, seed, metric, value, **more):
    fixed = dict.fromkeys(COLUMNS, "") | {
        "schema_version": 1, "experiment": "pair-smoke-made", "preset": "smoke", "dataset": "made", "split": "test",
        "run": f"{row}-s{seed}", "variant": row, "seed": seed, "level": None, "metric": metric, "value": value,
        "protocol": f"{metric}.1", "stderr": None, "n": 100, "status": "ok", "machine": "m", "row": row,
    }  # fmt: skip
    return fixed | more


def made(**more):
    cells = [cell(row, seed, "mae", value) | more for row in MAE for seed, value in enumerate(MAE[row])]
    return pd.DataFrame(cells, columns=[*COLUMNS, "row"])


@pytest.fixture
def store(in_empty_folder):
    """A store with one finished experiment."""
    folder = in_empty_folder / "avq-runs" / "experiments" / "pair-smoke-made"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text(to_csv(made()))
    write_json(folder / "plan.json", {"ablation": PAIR.model_dump()})
    return in_empty_folder / "avq-runs"


def test_table_shows_spread_contrasts_and_notes(call, store):
    done = call("table", "avq-runs")
    assert "Is a better than b?" in done.stdout
    assert "0.0500 ± 0.0010" in done.stdout
    assert "a is better" in done.stdout
    assert "not there" not in done.stdout
    assert "standard deviation over seeds" in done.stdout


def test_table_formats(call, store):
    rows = list(csv.DictReader(io.StringIO(call("table", "avq-runs", "--format", "csv").stdout)))
    assert [(row["experiment"], row["row"], row["seeds"]) for row in rows] == [
        ("pair-smoke-made", "a", "3"),
        ("pair-smoke-made", "b", "3"),
    ]
    (shown,) = json.loads(call("table", "avq-runs", "--format", "json").stdout)
    assert shown["rows"][0]["mae"] == pytest.approx(0.05)
    assert shown["contrasts"][0]["verdict"] == "better"
    assert shown["notes"]
    markdown = call("table", "avq-runs", "--format", "markdown").stdout
    assert markdown.startswith("### pair-smoke-made\n")
    assert "\n| a |" in markdown


@pytest.mark.parametrize("name", ["", "table.csv"])
def test_table_of_one_experiments_folder_or_csv(call, store, name):
    done = call("table", str(store / "experiments" / "pair-smoke-made" / name))
    assert "0.0500 ± 0.0010" in done.stdout
    assert ("a is better" in done.stdout) == (name == "")


def test_presets_are_never_mixed(call, store):
    other = store / "experiments" / "pair-small-made"
    other.mkdir()
    (other / "table.csv").write_text(to_csv(made(preset="small", experiment="pair-small-made", protocol="mae.1:n=2")))
    write_json(other / "plan.json", {"ablation": PAIR.model_dump()})
    shown = call("table", "avq-runs")
    assert [line for line in shown.stdout.splitlines() if line.startswith("pair-")] == [
        "pair-small-made",
        "pair-smoke-made",
    ]


def test_two_protocols_are_not_comparable(call, in_empty_folder):
    frame = pd.concat([made(), made(protocol="mae.2", row="c", run="c-s0").iloc[:1]], ignore_index=True)
    (in_empty_folder / "x.csv").write_text(to_csv(frame))
    call("table", "x.csv", code=3, says="Error: ")


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", b"\x00\xff\x80"])
def test_a_file_without_results_is_one_line(call, in_empty_folder, content):
    if content is not None:
        (in_empty_folder / "x.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    call("table", "x.csv", code=2, says="x.csv")


@pytest.fixture
def running(monkeypatch):
    """`avq.run` replaced: records its arguments, sends two events, and returns a made table."""
    seen = {}

    def install(frame=None):
        def run(ablation, *, on_event, **arguments):
            seen.update(arguments, ablation=ablation)
            on_event(Event("message", text="reusing 1 finished run: a-s0"))
            on_event(Event("finish", "a-s1", "", 1, 1))
            return made() if frame is None else frame

        monkeypatch.setattr(avq, "run", run, raising=False)
        return seen

    return install


def test_run_passes_every_option_on(call, running, in_empty_folder):
    seen = running()
    done = call(
        "run", "ablation_levels", "--preset", "small", "--dataset", "cifar10", "--data-root", ".", "--only", "a,b",
        "--seeds", "0,4", "--set", "steps=5", "--output", "out", "--device", "cpu", "--precision", "float32",
        "--compile", "off", "--max-minutes", "2.5", "--workers", "1", "--fresh", "--keep-stale", "--allow-small",
        "--executor", "ray", "--address", "10.0.0.1:6379", "--tensorboard",
        "--evaluation-precision", "bfloat16",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert seen.pop("ablation").name == "ablation_levels"
    assert {name: str(seen.pop(name)) for name in ("data_root", "output")} == {"data_root": ".", "output": "out"}
    assert seen == {
        "preset": "small", "dataset": "cifar10", "only": ("a", "b"), "seeds": (0, 4), "device": "cpu", "workers": 1,
        "settings": {"steps": 5, "precision": "float32", "compile": "off"}, "max_minutes": 2.5,
        "fresh": True, "keep_stale": True, "plugins": (),
        "allow_small": True, "evaluation_precision": "bfloat16", "executor": "ray", "address": "10.0.0.1:6379",
        "tensorboard": True,
    }  # fmt: skip


def test_time_that_is_over_is_no_error_and_has_an_exit_code_of_its_own(call, monkeypatch, in_empty_folder):
    def run(*_, **__):
        raise Stopped("the time is over; 1 of 2 runs are finished; begun ones are kept: give the same command again.")

    monkeypatch.setattr(avq, "run", run, raising=False)
    done = call("run", "ablation_levels", "--max-minutes", "1", code=4)
    assert done.stderr.splitlines()[-1].startswith("The time is over; 1 of 2 runs are finished; begun ones are kept:")
    for wrong in ("0", "nan", "inf"):
        call("run", "ablation_levels", "--max-minutes", wrong, code=2)


def test_run_says_what_it_reuses_where_files_are_and_what_is_next(call, running, in_empty_folder):
    running()
    done = call("run", "ablation_levels")
    assert "reusing 1 finished run: a-s0" in done.stderr
    assert "[1/1] finished a-s1" in done.stderr
    assert "0.0500 ± 0.0010" in done.stdout
    assert "avq-runs/runs" in done.stdout
    assert "avq-runs/experiments/pair-smoke-made/table.csv" in done.stdout
    assert "--preset small --dataset cifar10 --data-root DIR" in done.stdout


def test_run_keeps_stdout_for_programs(call, running, in_empty_folder):
    running()
    done = call("run", "ablation_levels", "--format", "json")
    assert json.loads(done.stdout)[0]["experiment"] == "pair-smoke-made"
    assert "avq-runs/runs" in done.stderr


def test_a_failed_run_ends_in_exit_1_after_the_table(call, running, in_empty_folder):
    lost = cell("c", 0, "mae", None, status="failed", reason="loss is nan")
    running(pd.DataFrame([*made().to_dict("records"), lost]))
    done = call("run", "ablation_levels", code=1)
    assert "0.0500 ± 0.0010" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("Error: 1 of 7 runs failed: c-s0")


def test_train_is_an_ablation_of_one_row(call, running, in_empty_folder):
    seen = running()
    call("train", "aren-1", "--seeds", "2")
    assert seen["ablation"].rows == [{"variant": "aren-1"}]
    assert seen["seeds"] == (0, 1)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("run", "ablation_level"), "ablation_levels"),
        (("train", "aren1"), "aren-1"),
        (("show", "aren1"), "aren-1"),
        (("plan", "ablation_levels", "--preset", "smal"), "small"),
        (("plan", "ablation_levels", "--dataset", "cifar"), "cifar10"),
        (("plan", "ablation_levels", "--set", "step=5"), "steps"),
        (("plan", "ablation_levels", "--only", "aren1"), "aren-1"),
        (("evaluate", "x.safetensors", "--set", "stepps=1"), "steps"),
        (("list", "variant"), "variants"),
        (("status",), "avq-runs"),
    ],
)
def test_unknown_names_suggest_the_nearest_and_no_store_is_one_line(call, in_empty_folder, words, meant):
    assert "Traceback" not in call(*words, code=2, says=meant).stderr


def test_status(call, monkeypatch, in_empty_folder):
    runs = [
        RunStatus("a-s0", "training", ("pair",), 40, 100, 812.4, 61.0, 0.123, 1.0),
        RunStatus("b-s0", "failed", reason="loss is nan"),
        RunStatus("c-s0", "done"),
        RunStatus("d-s0", "done"),
    ]
    monkeypatch.setattr(avq, "status", lambda store: runs, raising=False)
    shown = call("status").stdout
    assert "40/100" in shown
    assert "1 min 01 s" in shown
    assert "loss is nan" in shown
    assert shown.endswith("1 training, 1 failed, 2 done\n")
    rows = json.loads(call("status", "--format", "json").stdout)
    assert [row["run"] for row in rows] == ["a-s0", "b-s0", "c-s0", "d-s0"]
