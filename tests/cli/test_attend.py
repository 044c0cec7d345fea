"""`attend`: pictures and numbers for good input, one line for everything else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from avq.cli.pictures import open_framed
from avq.errors import UsageError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, save_tiny):
    return save_tiny(tmp_path_factory.mktemp("model") / "model.safetensors", "aren-2-rpa", image_size=32)


def photo(width, height, path="a.png"):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def test_a_picture_and_a_line_a_pixel_and_level(call, checkpoint, in_empty_folder):
    photo(70, 45)
    words = ["a.png", "--checkpoint", str(checkpoint), "--pixel", "10,20", "--pixel", "60,7", "--format", "json"]
    done = call("attend", *words)
    rows = json.loads(done.stdout)
    assert [(row["pixel"], row["level"], row["latent"]) for row in rows] == [
        ("10,20", 1, "16x10"), ("10,20", 2, "8x5"), ("60,7", 1, "16x10"), ("60,7", 2, "8x5"),
    ]  # fmt: skip
    for row in rows:
        x, y = map(int, row["looks-at"].split(","))
        assert 3 <= x < 67  # 64 of 70 pixels are seen
        assert 2 <= y < 43
        assert row["peak"] >= 1
        assert 0 < row["entropy"] <= 1
    with Image.open("attention.png") as picture:
        assert picture.mode == "RGB"
        assert picture.width > 3 * picture.height / 2  # an image and two levels across, two pixels down
    assert sorted(path.name for path in in_empty_folder.iterdir()) == ["a.png", "attention.png"]


def test_the_picture_shows_the_latent_pixel_that_is_asked_for(call, checkpoint, in_empty_folder):
    photo(32, 32)
    for name, pixel in (("one.png", "1,1"), ("same.png", "3,3"), ("other.png", "30,30")):
        call("attend", "a.png", "--checkpoint", str(checkpoint), "--pixel", pixel, "-o", name)
    right = []
    for name in ("one.png", "same.png", "other.png"):
        with Image.open(name) as picture:
            right.append(np.asarray(picture)[:, picture.width // 3 + 10 :])  # without the image and its cross
    assert np.array_equal(right[0], right[1])  # the first 4x4 pixels are one latent pixel
    assert not np.array_equal(right[0], right[2])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a.png", "--pixel", "70,3"], "pixel 70,3 is outside the image: x goes from 0 to 69"),
        (["a.png", "--pixel", "3,-1"], "pixel 3,-1 is outside the image: y goes from 0 to 44"),
        (["a.png", "--pixel", "1,20"], "pixel 1,20 is cropped away: the model sees x from 3 to 66 and y from 2 to 41"),
        (["a.png", "--pixel", "1"], "'1' is not a pixel; write x,y such as 120,80"),
        (["a.png", "--pixel", "a,b"], "'a,b' is not a pixel"),
        (["a.png"], "Missing option '--pixel'"),
        (["none.png", "--pixel", "1,1"], "no image at none.png"),
        (["page.png", "--pixel", "1,1"], "page.png is not an image"),
        (["a.png", "--pixel", "20,20", "-o", "x.docx"], "end it in .png"),
    ],
)
def test_wrong_use_is_one_line(call, checkpoint, in_empty_folder, words, line):
    photo(70, 45)
    (in_empty_folder / "page.png").write_text("<html>quota exceeded</html>")
    call("attend", *words, "--checkpoint", str(checkpoint), code=2, says=line)
    assert not (in_empty_folder / "attention.png").exists()


@pytest.mark.parametrize("variant", ["aren-1", "aren-1-wide", "patch-kmeans"])
def test_a_checkpoint_without_attention_is_named(call, save_tiny, in_empty_folder, variant):
    photo(32, 32)
    path = save_tiny(in_empty_folder / "m.safetensors", variant, image_size=32)
    line = f"m.safetensors holds {variant}, which has no attention between pixels"
    call("attend", "a.png", "--checkpoint", str(path), "--pixel", "1,1", code=2, says=line)


def test_a_file_that_is_not_a_model_is_one_line(call, in_empty_folder):
    import torch

    from avq.training.checkpoint import write_tensors

    photo(32, 32)
    write_tensors(in_empty_folder / "state.safetensors", {"step": torch.zeros(1)}, {"step": 3})
    (in_empty_folder / "x.safetensors").write_bytes(b"\x80\x04K\x01.")
    for name, line in (("state", "does not hold a model"), ("x", "not a safetensors"), ("none", "no checkpoint at")):
        call("attend", "a.png", "--checkpoint", f"{name}.safetensors", "--pixel", "1,1", code=2, says=line)


def test_pixels_of_the_file_find_their_place(tmp_path):
    photo(100, 40, tmp_path / "x.png")
    framed = open_framed(tmp_path / "x.png", 8, 50)  # shrunk to 50x20, cropped to 48x16
    assert framed.pixels.shape == (16, 48, 3)
    assert framed.place(2, 4) == (0, 0)
    assert framed.place(97, 35) == (47, 15)
    for column, row in ((0, 0), (47, 15), (20, 9)):
        assert framed.place(*framed.back(column, row)) == (column, row)
    with pytest.raises(UsageError, match="cropped away"):
        framed.place(1, 4)
    with pytest.raises(UsageError, match="outside the image"):
        framed.place(100, 4)


def test_large_latents_are_looked_at_without_pixels_by_pixels(checkpoint):
    """At 192x192 the bottom latent has 2,304 pixels; the model itself then attends by pieces."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    from avq import load_model
    from avq.evaluation.attention import look

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **kwargs or {})
            sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
            self.elements = max([self.elements, *sizes])
            return out

    with Largest() as largest:
        (looks,) = look(load_model(checkpoint), torch.zeros(1, 3, 192, 192), [(0.5, 0.5)])
    assert [tuple(one.shares.shape) for one in looks] == [(48, 48), (24, 24)]
    assert largest.elements < 2304**2 / 8
