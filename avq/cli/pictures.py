"""Images from files for a model, and pictures of its reconstructions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from avq.errors import AvqError, UsageError
from avq.files import written_whole

Pixels = NDArray[np.uint8]
_GAP = 4
_SHOWN_SIDE = 128  # smaller images are enlarged by a whole factor, so that a person sees them


class Framed(NamedTuple):
    """An image as a model takes it, and its place in its file.

    Attributes:
        pixels: uint8 `[H, W, 3]`.
        size: width and height of the upright image in the file.
        scaled: the same after shrinking.
        corner: left and top of the crop, in pixels of the shrunk image.
    """

    pixels: Pixels
    size: tuple[int, int]
    scaled: tuple[int, int]
    corner: tuple[int, int]

    def place(self, x: int, y: int) -> tuple[int, int]:
        """Column and row in `pixels` of a pixel of the file.

        Raises:
            UsageError: it is not in the image, or was cropped away.
        """
        for name, value, side in zip("xy", (x, y), self.size, strict=True):
            if not 0 <= value < side:
                raise UsageError(f"pixel {x},{y} is outside the image: {name} goes from 0 to {side - 1}")
        column, row = (
            int((value + 0.5) * scaled / side) - start
            for value, side, scaled, start in zip((x, y), self.size, self.scaled, self.corner, strict=True)
        )
        height, width = self.pixels.shape[:2]
        if not (0 <= column < width and 0 <= row < height):
            (left, top), (right, bottom) = self.back(0, 0), self.back(width - 1, height - 1)
            raise UsageError(
                f"pixel {x},{y} is cropped away: the model sees x from {left} to {right} and y from {top} to {bottom}"
            )
        return column, row

    def back(self, column: float, row: float) -> tuple[int, int]:
        """The pixel x, y of the file at a column and row of `pixels`."""
        x, y = (
            int((value + start + 0.5) * side / scaled)
            for value, side, scaled, start in zip((column, row), self.size, self.scaled, self.corner, strict=True)
        )
        return x, y


def open_framed(path: Path, multiple: int, max_side: int) -> Framed:
    """Read an image upright, as RGB, cropped about its centre to what a model takes.

    Args:
        path: any file that Pillow reads; transparency is laid on white, 16-bit grey is scaled to 8 bits.
        multiple: height and width become multiples of this, in pixels.
        max_side: an image with a longer side is shrunk to it first (area filter), in pixels.

    Raises:
        UsageError: no such file, not an image, a damaged one, or one that is too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                image = _rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise UsageError(f"no image at {path}") from None
    except UnidentifiedImageError:
        raise UsageError(f"{path} is not an image that Pillow reads") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UsageError(f"{path} has more than {Image.MAX_IMAGE_PIXELS} pixels; shrink it first") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's decoders raise all three on damaged files
        raise UsageError(f"{path} is damaged or cannot be read: {error}") from None
    whole = image.size
    if max(image.size) > max_side:
        scale = max_side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    width, height = (side // multiple * multiple for side in image.size)
    if not width or not height:
        raise UsageError(f"{path} is {image.width}x{image.height} pixels; the model needs at least {multiple} a side")
    left, top = (image.width - width) // 2, (image.height - height) // 2
    pixels = np.array(image.crop((left, top, left + width, top + height)))
    return Framed(pixels, whole, image.size, (left, top))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def side_by_side(pictures: Sequence[Sequence[Pixels]]) -> Image.Image:
    """Rows of pictures, such as an original and its reconstruction; small ones enlarged."""
    rows = [[_enlarged(pixels) for pixels in row] for row in pictures]
    width = max(sum(image.width + _GAP for image in row) - _GAP for row in rows)
    height = sum(row[0].height for row in rows) + _GAP * (len(rows) - 1)
    canvas = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        left = 0
        for image in row:
            canvas.paste(image, (left, top))
            left += image.width + _GAP
        top += row[0].height + _GAP
    return canvas


def _enlarged(pixels: Pixels) -> Image.Image:
    factor = max(1, -(-_SHOWN_SIDE // max(pixels.shape[:2])))
    return Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1))


def check_picture(path: Path) -> None:
    """UsageError if the name's ending is not a picture format or its folder is missing, before any work is done."""
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for the picture")
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise UsageError(f"the ending of '{path.name}' is not a picture format; end it in .png")


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all."""
    try:
        with written_whole(path) as aside:
            image.save(aside)
    except OSError as error:
        raise AvqError(f"cannot write {path}: {error.strerror or error}; choose another place with -o") from None
