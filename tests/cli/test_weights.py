from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from avq.metrics import fetching, weights
from avq.metrics.weights import Weights, WeightsFile


@pytest.fixture
def registered(in_empty_folder, monkeypatch):
    """One registered file, and a folder for weights."""
    content = b"weights"
    Path("source.pth").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    known = WeightsFile("net.pth", digest, len(content), "none", url=Path("source.pth").absolute().as_uri())
    monkeypatch.setattr(weights, "REGISTRY", {"net": Weights("net", (known,))})
    monkeypatch.setattr(fetching, "REGISTRY", weights.REGISTRY)
    Path("w").mkdir()
    return in_empty_folder


def test_fetch_check_and_list(call, registered):
    assert "missing" in call("weights", "check", "--weights-dir", "w").stdout
    call("weights", "fetch", "--weights-dir", "w")
    assert Path("w/net.pth").read_bytes() == b"weights"
    assert "already" in call("weights", "fetch", "net", "--weights-dir", "w").stdout
    (row,) = json.loads(call("list", "weights", "--format", "json").stdout)
    assert row["where"].endswith("w/net.pth")
    Path("w/net.pth").write_bytes(b"damaged")
    done = call("weights", "check", "--weights-dir", "w", code=1, says="net.pth")
    assert "damaged" in done.stdout


def test_add_refuses_other_files(call, registered):
    Path("other.pth").write_bytes(b"?")
    call("weights", "add", "other.pth", "--weights-dir", "w", code=2, says="none of the registered weights")


def test_fetch_and_add_make_their_folder(call, registered):
    call("weights", "fetch", "--weights-dir", "new/fetched")
    call("weights", "add", "source.pth", "--weights-dir", "new/added")
    assert Path("new/fetched/net.pth").read_bytes() == Path("new/added/net.pth").read_bytes() == b"weights"


def test_unknown_names_and_folders(call, registered):
    call("weights", "fetch", "nett", code=2, says="did you mean 'net'")
    call("weights", "check", "--weights-dir", "nowhere", code=2)
