"""Odd images: each becomes what the rules say, or is refused in a few words."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avq.data.decode import MOST_BYTES, Decoded, decode, looks_like_a_web_page, suffixes

from .made import encoded, picture


def good(data: bytes, size: int = 16) -> Decoded:
    found = decode(data, size)
    assert isinstance(found, Decoded), found
    assert found.pixels.shape == (size, size, 3)
    assert found.pixels.dtype == np.uint8
    return found


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG, without a pixel."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">II4s", zlib.crc32(header), 9, b"IDAT")


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".avif", ".jp2", ".tga", ".ppm", ".qoi", ".apng"])
def test_whatever_pillow_reads_is_read(suffix: str) -> None:
    if suffix not in suffixes():
        pytest.skip(f"this Pillow reads no {suffix}")
    found = good(encoded(picture(1), suffixes()[suffix]))
    assert np.abs(found.pixels.astype(int) - good(encoded(picture(1), "PNG")).pixels).mean() < 12
    assert {".jpg", ".jfif", ".tiff"} < suffixes().keys()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".wmf", ".heic", ".jxl"} & suffixes().keys()


@pytest.mark.parametrize(
    ("data", "converted"),
    [
        (lambda: encoded(picture(1)), ()),
        (lambda: encoded(picture(1).convert("L"), "PNG"), ("grey",)),
        (lambda: encoded(picture(1).convert("CMYK")), ("CMYK",)),
        (lambda: encoded(picture(1).convert("RGBA"), "PNG"), ("alpha",)),
        (lambda: encoded(Image.fromarray(np.full((20, 20), 0x8003, np.uint16)), "PNG"), ("16-bit grey",)),
        (lambda: moving("GIF"), ("first frame", "palette")),
        (lambda: moving("TIFF"), ("first frame",)),
        (lambda: moving("PNG"), ("first frame",)),
    ],
)
def test_what_was_done_to_make_it_rgb_is_said(data: Callable[[], bytes], converted: tuple[str, ...]) -> None:
    assert good(data()).converted == converted


def moving(form: str) -> bytes:
    return encoded(picture(1), form, save_all=True, append_images=[picture(2)])


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG"])
def test_of_a_moving_picture_the_first_frame_counts(form: str) -> None:
    assert np.array_equal(good(moving(form)).pixels, good(encoded(picture(1), form)).pixels)


def flat(mode: str, colour: object, **options: object) -> bytes:
    return encoded(Image.new(mode, (20, 20), colour), "PNG", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (flat("L", 77), (77, 77, 77)),
        (flat("1", 1), (255, 255, 255)),
        (flat("LA", (40, 0)), (255, 255, 255)),
        (flat("RGBA", (10, 20, 30, 255)), (10, 20, 30)),
        (flat("RGBA", (200, 0, 0, 0)), (255, 255, 255)),
        (flat("RGBA", (0, 0, 0, 51)), (204, 204, 204)),
        (flat("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255)),
        (flat("RGB", (1, 2, 3), transparency=(9, 9, 9)), (1, 2, 3)),
        (encoded(Image.fromarray(np.full((20, 20), 0x8003, np.uint16)), "PNG"), (128, 128, 128)),
        (encoded(Image.fromarray(np.full((20, 20), 0x00FF, np.uint16)), "PNG"), (0, 0, 0)),
        (encoded(Image.new("P", (20, 20), 3), "PNG"), None),
    ],
    ids=["grey", "bilevel", "clear-grey", "opaque", "clear", "half", "keyed", "unkeyed", "16-bit", "dark", "palette"],
)
def test_odd_pixels_become_rgb_by_the_rules(data: bytes, colour: tuple[int, int, int] | None) -> None:
    pixels = good(data).pixels
    assert (pixels == pixels[0, 0]).all()
    if colour is not None:
        assert tuple(pixels[0, 0]) == colour


def test_palettes_become_their_colours() -> None:
    image = Image.new("P", (20, 20), 5)
    image.putpalette([c for i in range(256) for c in (i, 2 * i % 256, 200)])
    assert tuple(good(encoded(image, "PNG")).pixels[0, 0]) == (5, 10, 200)
    clear = good(encoded(image, "PNG", transparency=5))
    assert tuple(clear.pixels[0, 0]) == (255, 255, 255)


def test_cmyk_is_not_inverted() -> None:
    light = good(encoded(Image.new("CMYK", (20, 20), (0, 0, 0, 20)), "JPEG")).pixels
    assert light.mean() > 220


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tags_are_obeyed(orientation: int) -> None:
    """Stored turned and tagged, every image is the upright one: same pixels, same hash, same split."""
    upright = picture(1)
    names = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270"]
    tag = Image.Exif()
    tag[0x0112] = orientation
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose[names[orientation - 2]])
    turned, plain = good(encoded(stored, "PNG", exif=tag)), good(encoded(upright, "PNG"))
    assert np.array_equal(turned.pixels, plain.pixels)
    assert turned.digest == plain.digest
    assert (turned.width, turned.height) == (40, 36)
    assert turned.converted == (("turned",) if orientation > 1 else ())


def test_damaged_orientation_tags_are_ignored() -> None:
    broken = encoded(picture(1), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert np.array_equal(good(broken).pixels, good(encoded(picture(1), "JPEG")).pixels)


def test_the_hash_is_that_of_the_pixels_alone() -> None:
    jpeg = encoded(picture(4))
    repacked = encoded(Image.open(io.BytesIO(jpeg)).convert("RGB"), "PNG", optimize=True)
    assert good(jpeg).digest == good(repacked).digest == good(jpeg, 24).digest
    assert good(jpeg).digest != good(encoded(picture(5))).digest
    wide, tall = (encoded(Image.new("RGB", shape), "PNG") for shape in ((20, 30), (30, 20)))
    assert good(wide).digest != good(tall).digest


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!doctype html><p>quota", "web page"),
        (b"\x00" * 500, "cannot identify"),
        (encoded(picture(1))[:-400], "(?i)truncated"),
        (encoded(picture(1), "PNG")[:-400], "truncated|broken"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n", "cannot identify"),
        (encoded(Image.new("F", (20, 20)), "TIFF"), "samples of 32 bits"),
        (encoded(Image.new("I", (20, 20)), "TIFF"), "samples of 32 bits"),
        (png_header(1, 2**26), "1x67108864 is smaller than 16x16"),
        (encoded(picture(1, 40, 12)), "40x12 is smaller than 16x16"),
        (encoded(Image.new("1", (8192, 8193)), "PNG"), "decompression bomb: 8192x8193"),
        (encoded(Image.new("1", (20000, 20000)), "PNG"), "decompression bomb|exceeds limit"),
    ],
    ids=["empty", "page", "zeros", "cut-jpeg", "cut-png", "eps", "float", "int", "column", "small", "bomb", "big-bomb"],
)
def test_what_cannot_be_used_is_refused_in_a_few_words(data: bytes, reason: str) -> None:
    found = decode(data, 16)
    assert isinstance(found, str)
    assert re.search(reason, found), found
    assert "\n" not in found
    assert not found.endswith("."), "it is part of a longer message"
    assert not re.search(r"0x[0-9a-f]{8}", found), "no memory address"


def test_files_larger_than_any_image_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avq.data.decode.MOST_BYTES", 100)
    assert "more than an image may have" in str(decode(encoded(picture(1)), 16))
    assert MOST_BYTES == 2**28


def test_no_warning_escapes() -> None:
    clear = Image.new("P", (20, 20), 5)
    data = encoded(clear, "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good(data)


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG2000", "TGA"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=30),
    st.integers(0, 10**6) | st.none(),
)
@settings(max_examples=150)
def test_any_damage_gives_an_image_or_a_reason(form: str, hits: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(encoded(picture(7, 20, 18), form))
    for place, value in hits:
        data[place % len(data)] = value
    found = decode(bytes(data[: cut % len(data)] if cut is not None else data), 16)
    assert isinstance(found, Decoded) or (found and "\n" not in found)


@pytest.mark.parametrize(
    ("start", "page"),
    [
        (b"<!DOCTYPE html>", True),
        (b"\xef\xbb\xbf\n <HTML lang='en'>", True),
        (b"PK\x03\x04<html>", False),
        (b"", False),
        (b"<?xml version='1.0'?><svg/>", False),
    ],
)
def test_web_pages_are_recognised(start: bytes, page: bool) -> None:
    assert looks_like_a_web_page(start) is page
