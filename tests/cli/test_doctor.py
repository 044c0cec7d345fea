from __future__ import annotations

import json
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image


def findings(call, *words):
    rows = json.loads(call("doctor", "--format", "json", *words).stdout)
    return {finding["check"]: finding for finding in rows}


def test_everything_is_checked(call, in_empty_folder):
    found = findings(call)
    assert found["torch"]["found"] == torch.__version__
    assert {"python", "processor", "precision", "threads", "memory", "store", "data root", "accelerator"} <= set(found)
    assert found["data synthetic-faces"]["fix"] == ""
    assert list(in_empty_folder.iterdir()) == [], "a check leaves nothing behind"


def test_problems_come_with_their_fix_and_exit_0(call, in_empty_folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2**40, 2**40, 2**20))
    found = findings(call, "--data-root", "nowhere")
    assert "--output" in found["store"]["fix"]
    assert "--data-root" in found["data root"]["fix"]
    assert "to fix." in call("doctor", "--data-root", "nowhere").stdout


def test_data_that_is_there_is_found(call, in_empty_folder):
    (in_empty_folder / "cifar-10-batches-py").mkdir()
    assert "found at" in findings(call, "--data-root", ".")["data cifar10"]["found"]


@pytest.fixture
def prepared(call, in_empty_folder, monkeypatch):
    """LSUN churches at 16 px in the user's cache, and at 20 px in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_empty_folder / "cache"))
    (in_empty_folder / "pics").mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(in_empty_folder / "pics" / f"{number}.png")
    for words in (["--size", "16"], ["--size", "20", "--output", "mine"]):
        call("data", "prepare", "lsun-church", "--source", "pics", "--workers", "1", *words)
    return in_empty_folder


def test_prepared_sets_are_listed_with_where_they_lie(call, prepared):
    found = findings(call)
    assert found["data lsun-church"]["found"] == "prepared at 16 pixels"
    there = found["prepared lsun-church-16"]
    assert there["fix"] == ""
    assert there["found"].endswith(f"; from {prepared / 'pics'}; at {prepared / 'cache/avq-bench/data/lsun-church-16'}")
    assert sum(int(part.split()[0]) for part in there["found"].split(";")[0].split(", ")) == 40
    assert "prepared lsun-church-20" not in found
    both = findings(call, "--data-root", "mine")
    assert both["data lsun-church"]["found"] == "prepared at 16, 20 pixels"
    assert "mine/lsun-church-20" in both["prepared lsun-church-20"]["found"]


def test_a_damaged_set_is_named_with_its_fix(call, prepared):
    folder = prepared / "cache/avq-bench/data/lsun-church-16"
    (folder / "train.npy").write_bytes(b"cut")
    damaged = findings(call)["prepared lsun-church-16"]
    assert "train.npy has 3 bytes" in damaged["found"]
    assert damaged["fix"] == f"remove {folder}, and prepare it again"
