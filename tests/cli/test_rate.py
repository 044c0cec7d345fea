from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_codes import ROW, SMALL, markov

from avq.priors import rate as meter


@pytest.fixture
def quick(monkeypatch, in_empty_folder):
    """A smaller prior than the protocol's, and a dump that numpy wrote."""
    monkeypatch.setattr(meter, "STANDARD", SMALL)
    dump = {"train": markov(300, 0).reshape(-1, 4, 4), "test": markov(64, 1).reshape(-1, 4, 4).astype(np.int64)}
    np.savez("codes.npz", **dump)
    return dump


def test_a_dump_is_rated(call, quick):
    done = call("rate", "codes.npz", "--codebook-size", "4", "--image-size", "16x16", "--format", "json")
    prior, unigram, nominal = json.loads(done.stdout)
    found = meter.rate({name: [codes] for name, codes in quick.items()}, ROW, config=SMALL)
    low, high = found.interval()
    assert prior == {
        "rate": "prior", "bits/token": found.bits / 16, "bits/px": found.bits / 256,
        "low": low / 256, "high": high / 256,
    }  # fmt: skip
    assert nominal["bits/px"] == 32 / 256
    assert low < found.bits < high < 256 * unigram["bits/px"] < 32
    assert found.protocol in done.stderr
    flat = {name: codes.reshape(-1, 16) for name, codes in quick.items()}
    np.savez("flat.npz", **flat, validation=flat["test"])
    words = ("--codebook-size", "4", "--shape", "4x4", "--seeds", "1", "--format", "json")
    (alone, *_) = json.loads(call("rate", "flat.npz", *words).stdout)
    assert alone["low"] is None
    assert alone["bits/image"] < 32


def test_levels_of_a_dump(call, quick):
    codes = {f"{split}-level-1": quick[split] for split in ("train", "test")}
    codes |= {f"{split}-level-2": quick[split][:, 0, :2] + 0 for split in ("train", "test")}
    np.savez("levels.npz", **codes)
    words = ("levels.npz", "--codebook-size", "4,8", "--seeds", "1", "--format", "json")
    assert json.loads(call("rate", *words).stdout)[2]["bits/image"] == 32 + 2 * 3
    assert json.loads(call("rate", *words, "--decoder-levels", "1").stdout)[2]["bits/image"] == 32


@pytest.mark.parametrize(
    ("arrays", "words", "says"),
    [
        ({"train": (9, 4, 4)}, (), "codes to train on and for test are needed"),
        ({"codes": (9, 4, 4)}, (), "by the names train, test and validation"),
        ({"train": (40, 5), "test": (9, 5)}, ("--shape", "4x4"), "which is not ['N', 4, 4]"),
        ({"train": (40, 4, 4), "test": (9, 2, 2)}, (), "which is not ['N', 4, 4]"),
        ({"train": (40, 4, 4), "test": (9, 4, 4)}, ("--codebook-size", "2,2"), "--codebook-size has 2 values, for 1"),
        ({"train-level-1": (40, 4, 4), "test-level-2": (9, 4, 4)}, (), "every split needs its levels"),
        ({"train": (40, 4, 4), "test": (9, 4, 4)}, ("--codebook-size", "2"), "codes from 2 to 2, but K is 2"),
        ({"train": (40, 4, 4), "test": (0, 4, 4)}, (), "is [0, 4, 4], which is not ['N', 4, 4] (it is empty)"),
        ({"train": (40, 4, 4), "test": (9, 4, 4)}, ("--shape", "4"), "'4' is not like 8x8"),
    ],
)
def test_dumps_that_do_not_fit(call, in_empty_folder, arrays, words, says):
    np.savez("codes.npz", **{name: np.full(shape, 2, np.uint8) for name, shape in arrays.items()})
    call("rate", "codes.npz", "--codebook-size", "4", *words, code=2, says=says)


def test_a_file_that_is_none(call, in_empty_folder):
    call("rate", "codes.npz", "--codebook-size", "4", code=2, says="no file at codes.npz")
    Path("codes.npz").write_bytes(b"no archive")
    call("rate", "codes.npz", "--codebook-size", "4", code=2, says="not an .npz file")
