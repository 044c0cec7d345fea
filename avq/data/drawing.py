"""Antialiased shapes for many small pictures at once.

All arrays are float32 and broadcast to ``[N, channels, H, W]``: colours are ``[N, 3, 1, 1]``, one number per picture
is ``[N, 1, 1, 1]``. Only operations whose rounding IEEE 754 fixes are used (no sine, no exponential), so that a picture
is the same on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Number = Array | float

_TINY = 1e-6


def ramp(distance: Array, pixel: Number) -> Array:
    """Share of a pixel that lies inside, from the signed distance to the edge (inside is negative), in any one unit."""
    inside: Array = distance * (-1 / np.asarray(pixel, np.float32))
    inside += 0.5
    return np.clip(inside, 0, 1, out=inside)


def ellipse(u: Array, v: Array, a: Number, b: Number, pixel: Number) -> Array:
    """Coverage ``[N, 1, H, W]`` of an axis-parallel ellipse.

    Args:
        u: columns relative to the centre, ``[N, 1, 1, W]``; `v`: rows, ``[N, 1, H, 1]``.
        a: half the width; `b`: half the height; `pixel`: width of a pixel; all in one unit.
    """
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    uu, vv = (u / a) ** 2, (v / b) ** 2
    slope = uu / (a * a) + vv / (b * b)  # a quarter of the squared gradient of uu + vv
    np.sqrt(slope, out=slope)
    slope += _TINY
    level = uu + (vv - 1)
    level /= slope
    level *= 0.5  # the first-order distance to the edge
    return ramp(level, pixel)


def stripes(z: Array, period: Array, pixel: Number) -> Array:
    """Coverage of stripes half a period wide; `z` is the position across them, all in one unit."""
    phase = z / period
    phase -= np.floor(phase)
    return ramp((np.abs(phase - 0.5) - 0.25) * period, pixel)


def blend(canvas: Array, coverage: Array, colour: Array) -> None:
    """Lay a colour over the canvas ``[N, 3, H, W]``, in place, by its coverage."""
    over = colour - canvas
    over *= coverage
    canvas += over


def mix(first: Array, second: Array, share: Number) -> Array:
    """``first`` where the share is 0, ``second`` where it is 1."""
    return first + (second - first) * share
