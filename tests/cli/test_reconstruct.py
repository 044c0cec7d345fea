"""Images of every odd kind, reconstructed by a tiny untrained model."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from avq.cli.pictures import open_framed, side_by_side
from avq.errors import UsageError


def noise(width, height, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, save_tiny):
    return save_tiny(tmp_path_factory.mktemp("model") / "model.safetensors", "aren-2", image_size=32)


def test_pictures_and_numbers(call, checkpoint, in_empty_folder):
    Image.fromarray(noise(45, 70)).save("a.png")
    Image.fromarray(noise(200, 33)).save("b.jpg")
    done = call("reconstruct", "a.png", "b.jpg", "--checkpoint", str(checkpoint), "--format", "json")
    rows = json.loads(done.stdout)
    assert [row["size"] for row in rows] == ["40x64", "200x32"]
    assert all(0 < row["mae"] < 1 and 0 < row["psnr"] < 60 for row in rows)
    assert [row["bits-per-pixel"] for row in rows] == [4 / 16, 4 / 16]
    with Image.open("reconstruction.png") as picture:
        assert picture.size == (2 * 200 + 4, 64 * 2 + 4 + 32)
    assert sorted(path.name for path in in_empty_folder.iterdir()) == ["a.png", "b.jpg", "reconstruction.png"]


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "CMYK", "1", "I;16", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(noise(32, 24)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        assert image.mode == "I;16"
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    (image.convert("RGB") if mode == "HSV" else image).save(path)
    pixels = open_framed(path, 8, 512).pixels
    assert pixels.shape == (24, 32, 3)
    assert pixels.dtype == np.uint8
    if mode in ("L", "I;16"):
        assert np.array_equal(pixels[..., 0], np.asarray(Image.fromarray(noise(32, 24)).convert("L")))


def test_turned_photographs_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    pixels = noise(32, 16)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(open_framed(tmp_path / "x.png", 4, 512).pixels, np.rot90(pixels, -1))


def test_crop_is_central_and_large_images_shrink(tmp_path):
    pixels = noise(35, 20)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(open_framed(tmp_path / "x.png", 8, 512).pixels, pixels[2:18, 1:33])
    Image.fromarray(noise(1000, 10)).save(tmp_path / "long.png")
    assert open_framed(tmp_path / "long.png", 4, 500).pixels.shape == (4, 500, 3)


def test_small_images_are_enlarged_by_a_whole_factor():
    assert side_by_side([(noise(32, 32), noise(32, 32))]).size == (2 * 128 + 4, 128)


def _truncated(path):
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(whole, "PNG")
    path.write_bytes(whole.getvalue()[:3000])


def _broken_chunk(path):
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(whole, "PNG")
    data = bytearray(whole.getvalue())
    data[60:80] = struct.pack("20x")
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no image at"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.write_text("<html>quota exceeded</html>"), "not an image"),
        (_truncated, "damaged"),
        (_broken_chunk, "damaged"),
        (lambda path: Image.fromarray(noise(3, 3)).save(path), "at least 8"),
        (lambda path: path.mkdir(), "is a directory"),
    ],
    ids=["missing", "empty", "html", "truncated", "broken", "tiny", "folder"],
)
def test_bad_images_are_one_line(call, checkpoint, in_empty_folder, make, words):
    make(in_empty_folder / "x.png")
    call("reconstruct", "x.png", "--checkpoint", str(checkpoint), code=2, says=words)
    assert not (in_empty_folder / "reconstruction.png").exists()


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(noise(16, 16)).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match="more than 100 pixels"):
        open_framed(tmp_path / "x.png", 4, 512)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no checkpoint at"), (b"", "not a safetensors"), (b"\x80\x04K\x01.", "not a safetensors")],
    ids=["missing", "empty", "pickle"],
)
def test_a_file_that_is_not_a_checkpoint_is_one_line(call, in_empty_folder, content, words):
    Image.fromarray(noise(32, 32)).save("x.png")
    if content is not None:
        (in_empty_folder / "model.safetensors").write_bytes(content)
    call("reconstruct", "x.png", "--checkpoint", "model.safetensors", code=2, says=words)


def test_a_name_that_is_not_a_picture_is_refused_before_work(call, checkpoint, in_empty_folder):
    call("reconstruct", "x.png", "--checkpoint", str(checkpoint), "-o", "out.docx", code=2, says="end it in .png")
