"""The one way in which a photograph becomes a square of the requested size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILTER = "centre crop to the short side, then Lanczos over the input's support (Pillow, antialiased)"


def fit_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop the centre square of an RGB image and reduce it: uint8 ``[size, size, 3]``.

    Raises:
        ValueError: the image is smaller than the requested size.
    """
    width, height = image.size
    side = min(width, height)
    if side < size:
        raise ValueError(f"{width}x{height} is smaller than {size}x{size}, and enlarging would invent pixels")
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return np.asarray(image.crop(box))
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))
