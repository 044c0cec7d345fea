"""From the bytes of an image file to a square of pixels, or the reason why they cannot be used (torch-free)."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from avq.data.resize import fit_square
from avq.errors import reason_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MOST_BYTES = 2**28
MOST_PIXELS = 2**26

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
    """

    digest: bytes
    width: int
    height: int
    pixels: NDArray[np.uint8]


def decode(data: bytes, size: int) -> Decoded | str:
    """Decode an image by `RULES` and reduce it by `avq.data.resize.FILTER`; or say in a few words why not."""
    if not data:
        return "empty file"
    if len(data) > MOST_BYTES:
        return f"{len(data):,} bytes are more than an image may have ({MOST_BYTES:,})"
    try:
        image = _open(data)
        digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
        digest.update(image.tobytes())
        return Decoded(digest.digest(), image.width, image.height, fit_square(image, size))
    except UnidentifiedImageError:  # its own message contains a memory address
        page = " (it is a web page)" if looks_like_a_web_page(data) else ""
        return f"cannot identify image file as {', '.join(FORMATS)}{page}"
    except Exception as error:  # decoders raise any exception on damaged bytes
        return reason_of(error).rstrip(".")


def looks_like_a_web_page(start: bytes) -> bool:
    """Whether a file's first bytes are HTML, which servers may send instead of the file."""
    text = start[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")) and b"<svg" not in text


def _open(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oddities that `RULES` settle, and of bombs above a higher limit than ours
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"decompression bomb: {image.width}x{image.height} is above {MOST_PIXELS:,} pixels")
        image.load()
        try:
            turn = _TURNS.get(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
        except Exception:  # damaged metadata raise anything, and say nothing of the pixels
            turn = None
        image = _to_rgb(image)
        return image if turn is None else image.transpose(turn)


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
