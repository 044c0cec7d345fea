"""Contact sheets: many images in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 2
_LABEL_SIZE = 11


def contact_sheet(
    images: Any, columns: int | None = None, labels: Sequence[str] | None = None, zoom: int = 1
) -> Image.Image:
    """Lay images out in rows.

    Args:
        images: uint8 ``[N, H, W, 3]``, an array or a tensor on the CPU; N at least 1.
        columns: images a row; by default as many as make the sheet square.
        labels: a short text below each image.
        zoom: every pixel becomes a square of so many pixels a side.

    Raises:
        ValueError: not such images, or not one label an image.
    """
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or not len(pixels):
        raise ValueError(f"a sheet needs uint8 [N, H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    if labels is not None and len(labels) != len(pixels):
        raise ValueError(f"{len(labels)} labels for {len(pixels)} images")
    columns = columns or math.ceil(math.sqrt(len(pixels)))
    rows = math.ceil(len(pixels) / columns)
    height, width = pixels.shape[1] * zoom, pixels.shape[2] * zoom
    text = _LABEL_SIZE + 3 if labels is not None else 0
    step_x, step_y = width + _MARGIN, height + text + _MARGIN
    sheet = Image.new("RGB", (columns * step_x + _MARGIN, rows * step_y + _MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LABEL_SIZE)
    for number, image in enumerate(pixels):
        x, y = _MARGIN + number % columns * step_x, _MARGIN + number // columns * step_y
        tile = Image.fromarray(image)
        sheet.paste(tile.resize((width, height), Image.Resampling.NEAREST) if zoom > 1 else tile, (x, y))
        if labels is not None:
            pen.text((x + 1, y + height), labels[number], fill="black", font=font)
    return sheet
