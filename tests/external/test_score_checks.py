"""Mistakes that would otherwise pass in silence: each is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avq.errors import UsageError
from avq.external.arrays import open_arrays
from avq.external.codes import open_codes
from avq.external.images import open_images
from avq.external.score import open_pairs, score

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
LAZY = (".npy", ".npz")  # what is read piece by piece
ANY_FILE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, names: list[str], mode: str = "RGB", **options: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(names, PIXELS, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).convert(mode).save(folder / name, **options)
    return folder


def refused(call: Callable[[], object]) -> str:
    """The one line of the refusal, which leaves no file open."""
    with pytest.raises(UsageError) as caught:
        call()
    assert not [file.path for file in psutil.Process().open_files() if file.path.endswith(LAZY)]
    line = str(caught.value)
    assert "\n" not in line
    return line


NAMES = ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (NAMES[:3], ["1 of 4 originals have no reconstruction (d)"]),
        (["a.png", "b.png", "c.png", "x.png"], ["(d)", "1 of 4 reconstructions have no original (x)"]),
        (["A.png", "B.png", "C.png", "D.png"], ["capitals"]),
        (["a.png", "b.png", "c.png", "d.png", "d.bmp"], []),
        (["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ["4 of 4 reconstructions are JPEG", "--allow-lossy"]),
        (["a.webp", "b.png", "c.png", "d.png"], ["1 of 4", "WEBP"]),
    ],
)
def test_names_and_formats(theirs: list[str], said: list[str], tmp_path: Path) -> None:
    write(tmp_path / "x", NAMES)
    write(tmp_path / "y", theirs)
    if theirs[-1] == "d.bmp":
        Image.fromarray(PIXELS[0]).save(tmp_path / "y" / "d.bmp")
        said = ["two images called 'd'", "d.bmp", "d.png"]
    line = refused(lambda: open_pairs(tmp_path / "x", tmp_path / "y"))
    assert all(words in line for words in said), line


def test_a_jpeg_with_the_suffix_of_a_png_is_a_jpeg(tmp_path: Path) -> None:
    write(tmp_path / "x", NAMES)
    write(tmp_path / "y", NAMES, format="JPEG")
    assert "JPEG" in refused(lambda: open_pairs(tmp_path / "x", tmp_path / "y"))
    pairs = open_pairs(tmp_path / "x", tmp_path / "y", allow_lossy=True)
    done = score(*pairs)
    assert all(row.protocol.endswith("recon=uint8-lossy") for row in done.measurements if row.metric == "mae")
    assert any("compression" in note for note in done.notes)


def test_originals_may_be_jpeg_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path / "x", ["a.jpg", "sub/b.jpg"])
    write(tmp_path / "y", ["a.png", "sub/b.png"])
    (tmp_path / "x" / ".hidden.png").write_bytes(b"")
    (tmp_path / "x" / "notes.txt").write_text("no image")
    pairs = open_pairs(tmp_path / "x", tmp_path / "y")
    assert pairs.originals.names == ["a", "sub/b"]
    assert "JPEG" in pairs.originals.notes[0]


@pytest.mark.parametrize(
    ("mode", "picture", "said"),
    [
        ("I;16", np.full((8, 8), 40_000, np.uint16), "16 bits a channel"),
        ("RGBA", np.full((8, 8, 4), 127, np.uint8), "transparent"),
        ("L", PIXELS[0][..., 0], "grey where their originals are not"),
        ("small", PIXELS[0][:6], "2 sizes: 3 are 8x8, 1 are not, the first a.png (8x6)"),
    ],
)
def test_pictures_of_another_kind(mode: str, picture: np.ndarray, said: str, tmp_path: Path) -> None:
    write(tmp_path / "x", NAMES)
    write(tmp_path / "y", NAMES)
    Image.fromarray(picture).save(tmp_path / "y" / "a.png")
    line = refused(lambda: score(*open_pairs(tmp_path / "x", tmp_path / "y")))
    assert said in line
    assert mode == "small" or mode == "L" or "a.png" in line


def test_16_bit_colour_which_pillow_reads_as_8_bits(tmp_path: Path) -> None:
    write(tmp_path / "x", NAMES)
    data = bytearray((tmp_path / "x" / "a.png").read_bytes())
    data[24] = 16
    (tmp_path / "x" / "a.png").write_bytes(data)
    assert "a.png" in refused(lambda: open_images(tmp_path / "x", "originals"))


def test_opaque_alpha_palettes_and_grey_pairs_are_read(tmp_path: Path) -> None:
    for mode in ("RGBA", "P", "L"):
        write(tmp_path / mode, NAMES, mode)
        other = write(tmp_path / f"{mode}2", NAMES, "L" if mode == "L" else "RGB")
        assert score(*open_pairs(tmp_path / mode, other)).measurements[0].value is not None


def test_sizes_of_the_two_sides(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 16, 16, 3), np.uint8))
    write(tmp_path / "y", NAMES)
    line = refused(lambda: open_pairs(tmp_path / "x.npy", tmp_path / "y"))
    assert "originals are 16x16 pixels, reconstructions 8x8" in line
    assert "EXIF" not in line
    for name, sides in (("wide.npy", (8, 12)), ("tall.npy", (12, 8))):
        np.save(tmp_path / name, np.zeros((4, *sides, 3), np.uint8))
    assert "EXIF" in refused(lambda: open_pairs(tmp_path / "wide.npy", tmp_path / "tall.npy"))


def test_an_order_that_would_be_a_guess(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    write(tmp_path / "y", ["1.png", "2.png", "3.png", "10.png"])
    assert "pad the numbers" in refused(lambda: open_pairs(tmp_path / "x.npy", tmp_path / "y"))
    write(tmp_path / "z", ["01.png", "02.png", "03.png", "10.png"])
    assert score(*open_pairs(tmp_path / "x.npy", tmp_path / "z")).measurements[0].value == 0


def test_counts_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    np.save(tmp_path / "y.npy", PIXELS[:3])
    line = refused(lambda: open_pairs(tmp_path / "x.npy", tmp_path / "y.npy"))
    assert "4 images" in line
    assert line.endswith("has 3")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (PIXELS.astype(np.int64), "int64"),
        (PIXELS > 3, "bool"),
        (PIXELS.astype(np.uint16) * 257, "uint16"),
        (np.full((4, 8, 8, 3), np.nan), "NaN"),
        (np.linspace(0.2, 1.3, 768).reshape(4, 8, 8, 3), "--range"),
        (np.linspace(-0.1, 1, 768).reshape(4, 8, 8, 3), "--range"),
        (np.linspace(0, 0.004, 768).reshape(4, 8, 8, 3), "--range"),
        (np.linspace(-5, 5, 768).reshape(4, 8, 8, 3), "--range"),
        (np.zeros((4, 3, 8, 3), np.uint8), "which axis"),
        (np.zeros((4, 8, 8, 4), np.uint8), "transparent images"),
        (np.zeros((4, 8, 8, 7), np.uint8), "[N, H, W, 3]"),
        (np.zeros((8, 8), np.uint8), "[N, H, W, 3]"),
        (np.zeros((8, 8, 3), np.uint8), "save it as [1, 8, 8, 3] if it is one, else as [8, 8, 3, 1]"),
        (np.zeros((3, 8, 8), np.uint8), "one image or 3 grey ones"),
        (np.zeros((8, 8, 4), np.uint8), "one image or 8 grey ones"),
        (np.zeros((8, 8, 1), np.uint8), "one image or 8 grey ones"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no image"),
        (np.uint8(3), "single value"),
        (np.asfortranarray(PIXELS), "ascontiguousarray"),
        (np.array([{}], dtype=object), "Python objects"),
    ],
)
def test_arrays_that_could_mean_something_else(array: np.ndarray, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert said in refused(lambda: open_images(tmp_path / "x.npy", "originals"))


def test_what_the_user_says_of_a_range_must_be_possible(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 768).reshape(4, 8, 8, 3))
    assert "--range unit" in refused(lambda: open_images(tmp_path / "x.npy", "originals", "unit"))
    np.save(tmp_path / "y.npy", np.linspace(0.2, 1.3, 768).reshape(4, 8, 8, 3))
    assert open_images(tmp_path / "y.npy", "reconstructions", "unit").notes[1].endswith("outside and are clamped")


def test_paths(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", NAMES)
    assert "are the same" in refused(lambda: open_pairs(folder, folder / "."))
    assert "does not exist" in refused(lambda: open_images(tmp_path / "nowhere", "originals"))
    assert "neither a folder nor" in refused(lambda: open_images(folder / "a.png", "originals"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("x")
    assert "a.txt" in refused(lambda: open_images(tmp_path / "empty", "originals"))
    np.savez(tmp_path / "two.npz", a=PIXELS, b=PIXELS)
    assert "call one of them 'images'" in refused(lambda: open_images(tmp_path / "two.npz", "originals"))


@pytest.mark.parametrize(
    ("arrays", "sizes", "seen", "said"),
    [
        ({"codes": np.zeros((3, 2, 2), int)}, [4], None, "codes of 3 images, but there are 4"),
        ({"codes": np.zeros((4, 2, 2))}, [4], None, "whole numbers"),
        ({"codes": np.zeros((4,), int)}, [4], None, "[N, h, w]"),
        ({"a": np.zeros((4, 2, 2), int), "b": np.zeros((4, 1, 1), int)}, [4], None, "level-1"),
        ({"level-1": np.zeros((4, 1, 1), int), "level-2": np.zeros((4, 2, 2), int)}, [4], None, "finest"),
        ({"level-1": np.zeros((4, 2, 2), int), "level-2": np.zeros((4, 1, 1), int)}, [4, 4, 4], None, "2 levels"),
        ({"codes": np.zeros((4, 2, 2), int)}, [4], [2], "levels 1 to 1, each once"),
        ({"codes": np.zeros((4, 2, 2), int)}, [4], [1, 1], "decoder_levels [1, 1]"),
        ({"codes": np.zeros((16,), int)}, [4], None, "or [N, T]"),
    ],
)
def test_codes_that_do_not_fit(
    arrays: dict[str, np.ndarray], sizes: list[int], seen: list[int] | None, said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "codes.npz", **arrays)  # type: ignore[arg-type]
    assert said in refused(lambda: open_codes(tmp_path / "codes.npz", sizes, 4, seen))


def test_codes_outside_of_their_codebook(tmp_path: Path) -> None:
    codes = np.arange(16).reshape(4, 2, 2)
    np.save(tmp_path / "codes.npy", codes + 1)
    opened = open_codes(tmp_path / "codes.npy", [16], 4)
    line = refused(lambda: list(opened.batches(3)))
    assert "image 3 " in line
    np.save(tmp_path / "x.npy", PIXELS)
    pairs = open_pairs(tmp_path / "x.npy", write(tmp_path / "y", NAMES), tmp_path / "codes.npy", [16])
    assert refused(lambda: score(*pairs)) == line
    assert "code 16" in line
    assert "count from 1" in line


def test_tokens_in_a_row_and_levels_by_number(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", top10=np.ones((4, 2), int), x=np.ones((4, 2), int))
    refused(lambda: open_codes(tmp_path / "c.npz", [4], 4))
    np.savez(tmp_path / "d.npz", **{"level-2": np.ones((4, 2), np.uint16), "level-1": np.zeros((4, 8), np.uint8)})
    opened = open_codes(tmp_path / "d.npz", [4], 4)
    assert [tuple(level.shape) for level in next(opened.batches(4))] == [(4, 1, 8), (4, 1, 2)]


@ANY_FILE
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    dtype=st.sampled_from(["u1", "<i4", ">i4", "<f2", ">f8"]),
    size=st.integers(1, 7),
    zipped=st.booleans(),
)
def test_any_array_comes_back_piece_by_piece(
    shape: list[int], dtype: str, size: int, zipped: bool, tmp_path: Path
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = tmp_path / ("x.npz" if zipped else "x.npy")
    (np.savez_compressed if zipped else np.save)(path, array)
    (file,) = open_arrays(path).values()
    assert np.array_equal(np.concatenate(list(file.chunks(size))), array)


@ANY_FILE
@given(kind=st.sampled_from(["npy", "npz", "png", "jpg", "webp"]), data=st.data())
def test_damaged_files_are_refused_in_one_line_or_read_in_full(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir(exist_ok=True)
    path = folder / f"x.{kind}"
    if kind == "npy":
        np.save(path, PIXELS)
    elif kind == "npz":
        np.savez_compressed(path, PIXELS)
    else:
        Image.fromarray(PIXELS[0]).save(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    target = path if kind in ("npy", "npz") else folder
    try:
        images = open_images(target, "originals")
        read = [batch.shape for batch in images.batches(3)]
        complaint = ""
        assert sum(shape[0] for shape in read) == len(images)
    except UsageError as error:
        complaint = str(error)
    path.unlink()
    assert "\n" not in complaint
    assert not complaint or str(folder) in complaint
