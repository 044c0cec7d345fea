from __future__ import annotations

import json
from collections import namedtuple

import torch


def findings(call, *words):
    done = call("doctor", "--format", "json", *words)
    assert done.exit_code == 0, done.stderr
    return {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_all_is_looked_at(call, in_empty_folder):
    found = findings(call)
    assert found["torch"]["found"] == torch.__version__
    assert {"python", "processor", "precision", "threads", "memory", "store", "data root", "accelerator"} <= set(found)
    assert found["data synthetic-faces"]["mend"] == ""
    assert list(in_empty_folder.iterdir()) == [], "looking leaves nothing behind"


def test_troubles_come_with_their_mend_and_exit_0(call, in_empty_folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2**40, 2**40, 2**20))
    found = findings(call, "--data-root", "nowhere")
    assert "--output" in found["store"]["mend"]
    assert "--data-root" in found["data root"]["mend"]
    assert "to mend." in call("doctor", "--data-root", "nowhere").stdout


def test_data_that_is_there_is_found(call, in_empty_folder):
    (in_empty_folder / "cifar-10-batches-py").mkdir()
    assert "found at" in findings(call, "--data-root", ".")["data cifar10"]["found"]
