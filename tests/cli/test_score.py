from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MODULE = '''
import torch
class Halves:
    """Keeps the brighter half of the levels."""
    codebook_size = 4
    def encode(self, images):
        return ((images.mean(1)[:, ::8, ::8] + 1) * 2).clamp(0, 3).long()
    def decode(self, codes):
        return (codes / 2 - 0.75)[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1)
'''
DATA = ["--dataset", "synthetic-faces", "--set", "test_images=12", "--set", "train_images=12",
        "--set", "validation_images=4"]  # fmt: skip


@pytest.fixture
def outside(in_empty_folder, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "halves_of_a_test", raising=False)
    Path("halves_of_a_test.py").write_text(MODULE)
    return "halves_of_a_test:Halves"


@pytest.fixture
def pairs(in_empty_folder):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    for name, images in (("x", pixels), ("y", pixels // 16 * 16 + 8)):
        Path(name).mkdir()
        for number, picture in enumerate(images):
            Image.fromarray(picture).save(f"{name}/{number}.png")
    return in_empty_folder


def rows_of(done):
    return {(row["metric"], row["level"]): row for row in json.loads(done.stdout)}


def test_score_returns_what_evaluate_returned(call, outside):
    evaluated = call("evaluate", outside, *DATA, "--images", "pairs", "--format", "json")
    ours = rows_of(evaluated)
    words = ["score", "pairs/originals", "pairs/reconstructions", "--codes", "pairs/codes.npz"]
    assert " ".join([*words, "--codebook-size", "4", "--decoder-levels", "1"]) in evaluated.stderr
    theirs = rows_of(call(*words, "--codebook-size", "4", "--dataset", "synthetic-faces", "--format", "json"))
    assert ours["bits-per-pixel", None]["value"] == 16 * 2 / 32**2
    assert "recon=uint8" in ours["mae", None]["protocol"]
    for key, row in theirs.items():
        if key[0] != "eye-mae" and not key[0].startswith("attention-"):
            for name in ("value", "stderr", "n", "protocol", "status", "dataset", "split"):
                assert row[name] == ours[key][name], (key, name)


def test_rounding_alone_has_the_same_rows(call, outside):
    rounded = rows_of(call("evaluate", outside, *DATA, "--round", "--format", "json"))
    assert rounded == rows_of(call("evaluate", outside, *DATA, "--images", "new", "--format", "json"))
    assert "recon" not in rows_of(call("evaluate", outside, *DATA, "--format", "json"))["mae", None]["protocol"]


def test_rows_of_several_models_stand_in_one_table(call, outside):
    for seed in ("0", "1"):
        call("evaluate", outside, *DATA, "--round", "--seed", seed, "--output", "all.csv")
    call("evaluate", outside, *DATA, "--images", "pairs")
    words = ["score", "pairs/originals", "pairs/reconstructions", "--dataset", "synthetic-faces", "--output", "all.csv"]
    call(*words, "--name", "by hand")
    shown = call("table", "all.csv", "--format", "csv")
    lines = {row["row"]: row for row in csv.DictReader(io.StringIO(shown.stdout))}
    assert list(lines) == [outside, "by hand"]
    assert lines[outside]["mae"] == lines["by hand"]["mae"]
    call(*words, "--name", "by hand", code=2, says="--name")
    call("evaluate", outside, *DATA, "--name", "floats", "--output", "all.csv")  # not rounded
    call("table", "all.csv", code=3, says="two protocols")


def test_rows_join_the_experiment_of_their_file(call, pairs):
    from avq.store.record import read_records, to_csv

    call("score", "x", "y", "--output", "all.csv", "--seed", "3")
    frame = read_records(Path("all.csv")).assign(experiment="ablation_levels-small", preset="small", levels="1")
    Path("all.csv").write_text(to_csv(frame))
    call("score", "x", "y", "--output", "all.csv", "--name", "other")
    joined = read_records(Path("all.csv"))
    assert set(joined["experiment"]) == {"ablation_levels-small"}
    assert set(joined["row"]) == {"y", "other"}
    call("table", "all.csv")


def test_long_form_on_the_screen_is_a_results_file(call, pairs):
    done = call("score", "x", "y", "--format", "csv")
    Path("printed.csv").write_text(done.stdout)
    call("score", "x", "y", "--output", "added.csv")
    assert Path("printed.csv").read_text() == Path("added.csv").read_text()
    call("table", "printed.csv")


def test_a_person_reads_a_table(call, pairs):
    done = call("score", "x", "y")
    assert "PSNR" not in done.stderr
    assert "psnr" in done.stdout
    assert "no codes were given" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "nowhere"], "nowhere"),
        (["x", "x"], "are the same"),
        (["x", "y", "--codes", "c.npz"], "belong together"),
        (["x", "y", "--codes", "c.npz", "--codebook-size", "4"], "c.npz"),
        (["x", "y", "--codebook-size", "0"], "positive whole number"),
        (["x", "y", "--range", "sign"], "unit, signed, byte"),
        (["x", "y", "--output", "results.txt"], ".csv"),
        (["x", "y", "--output", "wrong.csv"], "wrong.csv"),
    ],
)
def test_wrong_use_is_one_line(call, pairs, words, said):
    Path("wrong.csv").write_text("a,b\n1,2\n")
    call("score", *words, code=2, says=said)
    assert Path("wrong.csv").read_text() == "a,b\n1,2\n"


def test_an_object_needs_a_dataset_and_must_exist(call, outside):
    call("evaluate", outside, code=2, says="--dataset")
    for address in ("halves_of_a_test:Nothing", "no_such_module_at_all:x"):
        call("evaluate", address, *DATA, code=2, says="Error: ")
