"""`synthetic-faces`: drawn, seeded faces whose far parts tell each other, and their control.

A picture shows a head that is left-right symmetric, with eyes of six iris colours, before two panels with a
repeating pattern. Two versions are drawn from the same random numbers:

- ``coupled``: the second (right) eye has the colour of the first, the right panel mirrors the left one;
- ``independent``: the second eye and the right panel draw their own colour and pattern, from the same
  distributions.

The panels, and the irises, stand apart by more than an eighth of the picture's side: from 32 pixels on, no
window of that width sees two coupled parts. Its statistics are the same in both versions, and only wider
context can gain from coupling.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avq.data import facepaint
from avq.data.drawing import Array
from avq.data.facepaint import Look
from avq.data.randomness import Stream, words
from avq.errors import UsageError

Version = Literal["coupled", "independent"]

GENERATOR = "synthetic-faces/1"
"""Changes whenever a pixel would: it is part of the dataset's fingerprint."""

_SEED = 2309_11641
_DRAWS = 64
_CHUNK = 128
_SPLITS = {"train": 0, "validation": 1, "test": 2}


class Faces(NamedTuple):
    """Pictures, the mask of the second eye's iris, and what was drawn."""

    images: NDArray[np.uint8]
    second_eye: NDArray[np.bool_]
    eyes: NDArray[np.int64]


def draw_faces(start: int, stop: int, size: int = 32, version: Version = "coupled", split: str = "train") -> Faces:
    """Draw pictures ``start`` to ``stop`` of a split.

    Picture ``i`` is the same however many are asked for; splits share no random numbers.

    Returns:
        images uint8 ``[N, size, size, 3]``; second_eye bool ``[N, size, size]``, never empty: the pixels that
        the iris of the second eye covers by a quarter or more; eyes int64 ``[N, 2]``: the iris colour of each
        eye, as an index into ``facepaint.IRIS``.

    Raises:
        UsageError: the size is below 16.
    """
    if size < facepaint.SMALLEST:
        raise UsageError(f"synthetic faces need at least {facepaint.SMALLEST} pixels a side, not {size}")
    count = stop - start
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), np.bool_)
    eyes = np.empty((count, 2), np.int64)
    for low in range(start, stop, _CHUNK):
        part = slice(low - start, min(low + _CHUNK, stop) - start)
        look = draw_look(_uniforms(split, low, min(low + _CHUNK, stop)), version)
        images[part], masks[part] = facepaint.paint(look, size)
        eyes[part] = np.stack([look.first_iris, look.second_iris], axis=1)
    return Faces(images, masks, eyes)


def draw_look(uniforms: NDArray[np.float64], version: Version) -> Look:
    """What stands in each picture, from its own random numbers ``[N, 64]`` in [0, 1)."""
    column = iter(uniforms.T)

    def pick(options: int) -> NDArray[np.int64]:
        return np.asarray(next(column) * options).astype(np.int64)

    def between(low: float, high: float) -> Array:
        return np.asarray(low + (high - low) * next(column), np.float32)[:, None, None, None]

    def panel() -> facepaint.Panel:
        return facepaint.Panel(
            kind=pick(facepaint.PATTERNS),
            palette=pick(len(facepaint.PANEL_COLOURS)),
            period=pick(len(facepaint.PERIODS)),
            across=between(0, 1),
            down=between(0, 1),
            light=between(-0.05, 0.05),
        )

    first_iris, own_iris = pick(len(facepaint.IRIS)), pick(len(facepaint.IRIS))
    left, own_panel = panel(), panel()
    coupled = version == "coupled"
    return Look(
        first_iris=first_iris,
        second_iris=first_iris if coupled else own_iris,
        left=left,
        right=left if coupled else own_panel,
        wall=between(0.86, 0.97),
        x=between(-0.03, 0.03),
        y=between(-0.02, 0.03),
        scale=between(0.92, 1.1),
        skin=between(0, len(facepaint.SKIN) - 1),
        skin_light=between(0.95, 1.03),
        hair=pick(len(facepaint.HAIR)),
        hair_light=between(0.85, 1.15),
        style=pick(facepaint.STYLES),
        hairline=between(-0.025, 0.045),
        volume=between(0.0, 0.04),
        clothes=pick(len(facepaint.CLOTHES)),
        clothes_light=between(0.85, 1.1),
        collar=pick(3),
        width=between(0.205, 0.24),
        height=between(0.265, 0.30),
        brow_height=between(0.0, 0.022),
        brow_tilt=between(-0.12, 0.2),
        nose=between(0.7, 1.3),
        smile=between(-0.1, 1.0),
        lips=between(0.75, 1.3),
        mouth=between(0.075, 0.115),
        teeth=pick(3),
        blush=between(0.0, 0.45),
        beard=pick(5),
    )


def _uniforms(split: str, start: int, stop: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), a row a picture: it depends on the split and the picture's index alone."""
    raw = words(_SEED, Stream.PICTURES, _SPLITS[split], (stop - start) * _DRAWS, start * _DRAWS)
    return np.asarray((raw >> np.uint64(11)).reshape(-1, _DRAWS) * 2.0**-53, np.float64)
