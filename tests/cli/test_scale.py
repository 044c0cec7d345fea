from __future__ import annotations

import json

import pytest

from avq import scale_sweep as scaling
from avq.profiling.counting import Rates
from avq.profiling.scaling import Outcome, Prediction, predict_points


@pytest.fixture
def quick(in_empty_folder, monkeypatch):
    """Points that cost nothing; dense at 256 does not fit."""

    def call(function, *arguments):
        if function is predict_points:
            return [Prediction(1.0, 2.0, 3, 4) for _ in arguments[0]], Rates(1e9, 1e9)
        point = arguments[0]
        power = 4 if point.implementation == "dense" else 2
        if point.implementation == "dense" and point.latent_size > 128:
            return Outcome(reason="does not fit: it needs about 35 GiB, and 9 GiB are free")
        return Outcome((1e-3 * point.latent_size**power,) * 3, (0.1, 0.2, 0.3), 1.5)

    monkeypatch.setattr(scaling, "call_alone", call)
    return in_empty_folder


WORDS = ("scale", "--latent-sizes", "32,64,128,256", "--similarities", "softmax", "--device", "cpu")


def test_table_pictures_and_records(call, quick):
    done = call(*WORDS, "--picture", "growth.svg")
    assert "4.00 (4.00 to 4.00)" in done.stdout
    assert "256x256, attention, softmax, dense, forward: does not fit: it needs about 35 GiB" in done.stdout
    assert "at 128x128: linear against dense takes 16,384 times less memory and is as fast" in done.stdout
    folder = quick / "avq-runs/experiments/scale-cpu"
    assert {path.name for path in folder.iterdir()} >= {"table.csv", "plan.json", "scale.png", "scale.svg"}
    assert (folder / "scale.png").read_bytes().startswith(b"\x89PNG")
    drawn = (quick / "growth.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "training step" in drawn
    assert str(folder / "table.csv").removeprefix(f"{quick}/") in done.stdout


def test_every_reader_reads_the_records(call, quick):
    call(*WORDS)
    shown = call("table", "avq-runs")
    assert "4.00 (4.00 to 4.00)" in shown.stdout, "as scale shows it"
    wide = call("table", "avq-runs", "--format", "csv", "--metrics", "attention-memory")
    assert "attention[64,softmax,dense,forward]" in wide.stdout
    assert "scale-cpu" in call("table", "avq-runs", "--format", "json").stdout
    call("check", "avq-runs", "--baseline", "avq-runs/experiments/scale-cpu/table.csv")


def test_check_finds_memory_that_grew(call, quick):
    import pandas as pd

    call(*WORDS)
    path = quick / "avq-runs/experiments/scale-cpu/table.csv"
    before = pd.read_csv(path, keep_default_na=False)
    before.to_csv("before.csv", index=False)
    row = (before["row"] == "attention[64,softmax,linear,forward]") & (before["metric"] == "attention-memory")
    before.loc[row, "value"] = float(before.loc[row, "value"].iloc[0]) * 1.5
    before.to_csv("after.csv", index=False)
    bad = call("check", "after.csv", "--baseline", "before.csv", code=1)
    assert "attention[64,softmax,linear,forward]" in bad.stdout


@pytest.mark.parametrize("style", ["csv", "json", "markdown"])
def test_other_formats_have_nothing_else_on_stdout(call, quick, style):
    done = call(*WORDS, "--format", style)
    if style == "json":
        rows = json.loads(done.stdout)
        assert {"latent_size", "similarity", "implementation", "pass", "value"} <= rows[0].keys()
    elif style == "csv":
        assert done.stdout.startswith("schema_version,")
    else:
        assert done.stdout.startswith("| what | similarity |")
    assert "records" in done.stderr


def test_failed_points_fail_the_command_after_the_table(call, quick, monkeypatch):
    def fail(function, *arguments):
        if function is predict_points:
            return [Prediction(reason="cannot be counted: so")], Rates(1e9, 1e9)
        return Outcome(reason="its process ended with exit code 7", failed=True)

    monkeypatch.setattr(scaling, "call_alone", fail)
    done = call("scale", "--latent-sizes", "8", "--similarities", "softmax", "--implementations", "linear",
                "--passes", "forward", "--device", "cpu", code=1)  # fmt: skip
    assert "1 of 1 points failed: attention[8,softmax,linear,forward]" in done.stderr
    assert "exit code 7" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--latent-sizes", "16,x"), "is not a list of sides"),
        (("--latent-sizes", "16,16"), "each once"),
        (("--latent-sizes", "0"), "is not a list of sides"),
        (("--similarities", "sofmax"), "did you mean 'softmax'"),
        (("--variant", "aren-1-rap"), "unknown variant"),
        (("--channels", "0"), "--channels"),
        (("--picture", "growth.pdf"), "ends in .png or .svg"),
    ],
)
def test_wrong_use_is_one_line(call, quick, words, said):
    call("scale", "--device", "cpu", *words, code=2, says=said)
    assert not (quick / "avq-runs").exists()
