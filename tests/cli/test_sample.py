from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_codes import SMALL, lively_prior
from PIL import Image

from avq.data.hashing import sha256_of_file
from avq.priors.codes import tokenizer_layout
from avq.priors.saved import PRIOR_FILE, save_prior
from avq.training.checkpoint import load_model


@pytest.fixture
def trained(save_tiny, in_empty_folder):
    """A tokenizer, and priors over its codes in folders of their own."""
    file = save_tiny(in_empty_folder / "tokenizer" / "checkpoint.safetensors")
    layout = tokenizer_layout(load_model(file), 16)
    for name, classes in (("prior", 0), ("classes", 2)):
        about = {"tokenizer": "../tokenizer/checkpoint.safetensors", "checksum": sha256_of_file(file), "image_size": 16}
        save_prior(lively_prior(layout, classes, SMALL), in_empty_folder / name / PRIOR_FILE, **about)
    return layout


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def codes_of(folder):
    with np.load(f"{folder}/codes.npz") as codes:
        return codes["level-1"]


def test_samples_are_drawn_and_saved(call, trained):
    call("sample", "--checkpoint", "prior", "-n", "5", "--save", "all")
    assert pixels_of("samples.png").shape == (2 * 128 + 4, 3 * 128 + 2 * 4, 3)
    codes = torch.from_numpy(codes_of("all"))
    assert codes.shape == (5, *trained.grids[0].shape)
    pixels = np.stack([pixels_of(path) for path in sorted(Path("all").glob("*.png"))])
    with torch.no_grad():
        decoded = load_model("tokenizer/checkpoint.safetensors").decode([codes])
    assert np.abs(pixels - (decoded.clamp(-1, 1) + 1).mul(127.5).permute(0, 2, 3, 1).numpy()).max() < 0.51
    shutil.move("tokenizer", "moved")
    words = ("--tokenizer", "moved/checkpoint.safetensors", "-n", "5", "--save")
    call("sample", "--checkpoint", f"prior/{PRIOR_FILE}", *words, "again", "--seed", "0")
    call("sample", "--checkpoint", "prior", *words, "best", "--top-k", "1")
    call("sample", "--checkpoint", "classes", *words, "class", "--class", "1")
    found = {name: codes_of(name) for name in ("again", "best", "class")}
    assert (found["again"] == codes.numpy()).all()
    assert (found["best"] == found["best"][0]).all()
    assert (found["class"] != codes.numpy()).any()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("prior", "--class", "0"), "this prior has no classes"),
        (("classes",), "classes 0 to 1: name one"),
        (("classes", "--class", "2"), "classes 0 to 1: name one"),
        (("nowhere",), "no checkpoint at nowhere"),
        (("tokenizer/checkpoint.safetensors",), "does not hold a prior"),
        (("prior", "--save", "prior"), "prior exists already"),
        (("prior", "--tokenizer", "gone.safetensors"), "the prior's tokenizer gone.safetensors is missing"),
    ],
)
def test_what_does_not_fit_is_one_line(call, trained, words, says):
    call("sample", "--checkpoint", *words, code=2, says=says)


def test_a_tokenizer_that_is_another_or_damaged(call, trained, save_tiny):
    file = Path("tokenizer/checkpoint.safetensors")
    save_tiny(file, seed=1)
    call("sample", "--checkpoint", "prior", code=2, says="train the prior again")
    save_tiny(file, "aren-2")
    call(
        "sample", "--checkpoint", "prior", code=2, says="is not this prior's tokenizer: its codes are 4x4 below 16 and"
    )
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    call("sample", "--checkpoint", "prior", code=2, says="damaged")
