"""`check` and what `table` has learned: exit codes, forms, baselines."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

import avq
from avq.store.record import to_csv

TABLE = Path(__file__).parents[2] / "results" / "cpu" / "ablation_levels-small-cifar10.csv"


@pytest.fixture
def long():
    frame = avq.load_results(TABLE)
    return frame[frame["row"].isin(["aren-1", "aren-2", "aren-1-rpa-mean", "aren-2-rpa-mean"])]


@pytest.fixture
def save(in_empty_folder):
    def write(frame, name):
        (in_empty_folder / name).write_text(to_csv(frame))
        return name

    return write


def worse(long):
    now = long.copy()
    now.loc[(now["row"] == "aren-2") & (now["metric"] == "mae"), "value"] *= 1.2
    return now


def test_exit_codes(call, save, long):
    before = save(long, "before.csv")
    call("check", before, "--baseline", before)
    done = call("check", save(worse(long), "now.csv"), "--baseline", before, code=1)
    assert "aren-2  MAE" in done.stdout
    call("check", before, "--baseline", "no.csv", code=2)
    other = long.assign(protocol="another.9")
    call("check", save(other, "other.csv"), "--baseline", before, code=3)
    elsewhere = save(long.assign(experiment="x"), "x.csv")
    call("check", elsewhere, "--baseline", before, code=3, says="ablation_levels-small-cifar10")


def test_allowed_findings(call, save, long):
    before, now = save(long, "before.csv"), save(long[long["row"] != "aren-2"], "now.csv")
    call("check", now, "--baseline", before, code=1)
    call("check", now, "--baseline", before, "--allow", "missing,added")
    call("check", now, "--baseline", before, "--allow", "mising", code=2, says="missing")


def test_forms_are_for_programs(call, save, long):
    words = ("check", save(worse(long), "now.csv"), "--baseline", save(long, "before.csv"), "--format")
    assert json.loads(call(*words, "json", code=1).stdout)["verdict"] == "regressed"
    assert call(*words, "junit", code=1).stdout.startswith("<?xml")
    assert call(*words, "markdown", code=1).stdout.startswith("### ❌ ablation_levels-small-cifar10")


def test_update_shows_old_and_new_and_rewrites(call, save, long, in_empty_folder):
    now, before = save(worse(long), "now.csv"), save(long, "before.csv")
    done = call("check", now, "--baseline", before, "--update")
    assert "1 cells changed" in done.stdout
    assert (in_empty_folder / before).read_text() == (in_empty_folder / now).read_text()
    call("check", now, "--baseline", before)


def test_update_makes_a_first_baseline(call, save, long, in_empty_folder):
    done = call("check", save(long, "now.csv"), "--baseline", "new.csv", "--update")
    assert done.stdout == "new.csv: new baseline\n"
    assert (in_empty_folder / "new.csv").exists()
    call("check", "now.csv", "--baseline", "new.parquet", "--update", code=2)


def test_pivot(call):
    done = call("table", str(TABLE), "--pivot", "levels,attention", "--metrics", "psnr", "--format", "csv")
    table = pd.read_csv(io.StringIO(done.stdout))
    assert list(table["levels"]) == [1, 2, 3]
    long = avq.load_results(TABLE)
    values = long.loc[(long["row"] == "aren-2-rpa-mean") & (long["metric"] == "psnr"), "value"]
    assert table["attention=normalised"][1] == pytest.approx(values.mean())
    assert table["attention=normalised:sd"][1] == pytest.approx(values.std())
    assert "attention=normalised" in call("table", str(TABLE), "--pivot", "levels,attention").stdout
    call("table", str(TABLE), "--pivot", "levels", code=2)
    call("table", str(TABLE), "--pivot", "levels,atention", code=2)


def test_filters(call):
    words = ("table", str(TABLE), "--rows", "aren-1,vqvae", "--metrics", "mae", "--format", "csv")
    table = pd.read_csv(io.StringIO(call(*words).stdout))
    assert list(table["row"]) == ["aren-1", "vqvae"]
    assert "psnr" not in table
    some = pd.read_csv(io.StringIO(call("table", str(TABLE), "--where", "levels=2", "--format", "csv").stdout))
    assert set(some["row"]) == {"aren-2", "aren-2-rpa", "aren-2-rpa-mean"}
    call("table", str(TABLE), "--rows", "aren1", code=2, says="aren-1")


def test_latex_marks_what_is_shown_to_be_best(call):
    """No contrast of PSNR is declared: its best mean is no claim."""
    text = call("table", str(TABLE), "--rows", "aren-1,vqvae", "--metrics", "mae,psnr", "--format", "latex").stdout
    assert text.count(r"\mathbf{") == 1
    assert r"over seeds 0, 1, 2; n = 10,000 images." in text
    assert r"\mathbf" not in call("table", str(TABLE), "--metrics", "mae", "--format", "latex").stdout  # undecided
    assert r"aren-1 & $\mathbf{0.0466} \pm 0.0003$" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_parquet_holds_the_wide_table(call):
    done = call("table", str(TABLE), "--format", "parquet")
    table = pd.read_parquet(io.BytesIO(done.stdout_bytes))
    assert len(table) == 12
    assert {"experiment", "row", "mae", "mae:sd"} <= set(table)


def test_rates_against_distortions(call):
    done = call("table", str(TABLE), "--view", "rate-distortion")
    assert max(map(len, done.stdout.splitlines())) <= 120
    whole = call("table", str(TABLE), "--view", "rate-distortion", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(whole)))
    assert [row["row"] for row in rows if "baseline" in row["note"]] == ["patch-kmeans"]
    assert rows[-1]["row"] == "vqvae2"  # the only one with more than half a bit
    assert {row["experiment"] for row in rows} == {"ablation_levels-small-cifar10"}
    wrong = ("table", str(TABLE), "--view", "rate-distortion", "--metrics", "mae")
    call(*wrong, code=2, says="takes neither --pivot nor --metrics")


def test_metrics_that_a_table_leaves_out_are_shown_when_asked_for(call):
    assert "mae-sigma" in call("table", str(TABLE)).stdout.split("shown when asked for (table --metrics):")[1]
    asked = call("table", str(TABLE), "--metrics", "mae,mae-sigma").stdout
    assert "MAE ↓ sigma" in " ".join(asked.partition("aren-1")[0].split())
