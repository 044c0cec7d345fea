"""From the bytes of an image file to a square of pixels, or the reason why they cannot be used (torch-free)."""

from __future__ import annotations

import hashlib
import importlib
import io
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from avq.data.resize import fit_square
from avq.errors import reason_of

MOST_BYTES = 2**28
MOST_PIXELS = 2**26
# Which Pillow only recognises, or hands to another program.
_NO_PIXELS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
_PLUG_INS = ("pillow_heif.HeifImagePlugin", "pillow_jxl")
_STRIP = 2**20

RULES = (
    "orientation tags are obeyed, and ignored where they cannot be read; grey becomes three equal channels; palettes "
    "become their colours; 16-bit grey keeps its upper 8 bits; transparency is laid over white; CMYK becomes RGB by "
    "Pillow's formula; colour profiles are ignored; of a moving picture the first frame counts; refused are empty, "
    "truncated and undecodable files, images smaller than the size asked for, files above 256 MiB and images above "
    "67,108,864 pixels (decompression bombs)"
)
"""How unusual images are treated. Part of every manifest, and of the fingerprint of data."""

_T = Image.Transpose
_TURNS = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE, 6: _T.ROTATE_270,
          7: _T.TRANSVERSE, 8: _T.ROTATE_90}  # fmt: skip


class Decoded(NamedTuple):
    """One image.

    Attributes:
        digest: sha256 of the whole image as RGB, its width and height included; 32 bytes.
        width: of the whole image, upright, like `height`.
        pixels: the square, uint8 ``[size, size, 3]``.
        converted: what of `RULES` was applied, such as ("grey", "turned"); nothing for upright RGB.
    """

    digest: bytes
    width: int
    height: int
    pixels: NDArray[np.uint8]
    converted: tuple[str, ...]


@cache
def suffixes() -> dict[str, str]:
    """Formats by the suffixes of their files: those that Pillow reads here, with the plug-ins that are installed."""
    Image.init()
    for name in _PLUG_INS:
        with suppress(ImportError):
            importlib.import_module(name)
    known = Image.registered_extensions()
    return {suffix: kind for suffix, kind in known.items() if kind in Image.OPEN and kind not in _NO_PIXELS}


def decode(data: bytes, size: int) -> Decoded | str:
    """Decode an image by `RULES` and reduce it by `avq.data.resize.FILTER`; or say in a few words why not."""
    if not data:
        return "empty file"
    if len(data) > MOST_BYTES:
        return f"{len(data):,} bytes are more than an image may have ({MOST_BYTES:,})"
    try:
        image, converted = _open(data, size)
        digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
        for box in _strips(image):
            digest.update(image.crop(box).tobytes())
        return Decoded(digest.digest(), image.width, image.height, fit_square(image, size), converted)
    except UnidentifiedImageError:  # its own message contains a memory address
        page = " (it is a web page)" if looks_like_a_web_page(data) else ""
        return f"cannot identify image file{page}"
    except Exception as error:  # decoders raise any exception on damaged bytes
        return reason_of(error).rstrip(".")


def looks_like_a_web_page(start: bytes) -> bool:
    """Whether a file's first bytes are HTML, which servers may send instead of the file."""
    text = start[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")) and b"<svg" not in text


def _open(data: bytes, size: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The whole image, RGB and upright, and what was done to make it so."""
    formats = tuple(dict.fromkeys(suffixes().values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oddities that `RULES` settle, and of bombs above a higher limit than ours
        image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"decompression bomb: {width}x{height} is above {MOST_PIXELS:,} pixels")
        if min(width, height) < size:  # before it is decoded: a column of millions of rows needs 1.4 GB
            raise ValueError(f"{width}x{height} is smaller than {size}x{size}, and enlarging would invent pixels")
        converted = ["first frame"] if _moves(data, image.format) else []
        image.load()
        try:
            turn = _TURNS.get(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
        except Exception:  # damaged metadata raise anything, and say nothing of the pixels
            turn = None
        if change := _change(image):
            converted.append(change)
            whole = Image.new("RGB", image.size)
            for box in _strips(image):
                whole.paste(_to_rgb(image.crop(box)), box)
            image = whole
        if turn is not None:
            converted.append("turned")
            image = image.transpose(turn)
        return image, tuple(converted)


def _moves(data: bytes, kind: str | None) -> bool:
    """Whether it has several frames; the second picture of a JPEG is a preview or a map of depth."""
    if kind in ("JPEG", "MPO"):
        return False
    with suppress(Exception):  # looking for a frame may fail where the first one can be read
        return bool(getattr(Image.open(io.BytesIO(data), formats=[str(kind)]), "is_animated", False))
    return False


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """The image in boxes of full width, so that no copy of the whole is needed."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _change(image: Image.Image) -> str:
    """What an image is other than RGB, in a word; empty for RGB."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("samples of 32 bits, whose range is not known")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return "16-bit grey"
    if image.has_transparency_data:
        return "alpha"
    return {"RGB": "", "L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.int64)
        if levels.max(initial=0) > 0xFFFF:
            raise ValueError("more than 16 bits a sample")
        return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
