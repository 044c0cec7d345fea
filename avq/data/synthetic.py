"""`synthetic-faces`: drawn, seeded faces with far-apart parts that predict each other, and a control without that.

A picture shows a left-right symmetric head, with eyes of six iris colours, in front of two panels with a repeating
pattern. Two versions are drawn from the same random numbers:

- ``coupled``: the second (right) eye has the colour of the first, the right panel mirrors the left one;
- ``independent``: the second eye and the right panel draw their own colour and pattern, from the same distributions.

The two panels, and the two irises, are more than an eighth of the picture's side apart: from 32 pixels on, no window of
that width sees both coupled parts. The statistics within a window are the same in both versions, so only wider
context can profit from the coupling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avq.data import facepaint
from avq.data.facepaint import Look, Panel
from avq.data.randomness import Stream, words
from avq.errors import UsageError

Version = Literal["coupled", "independent"]

GENERATOR = "synthetic-faces/1"
"""To be changed whenever a pixel changes: it is part of the dataset's fingerprint."""

_SEED = 2309_11641
_DRAWS = 64
_CHUNK = 128
_SPLITS = {"train": 0, "validation": 1, "test": 2}


class Faces(NamedTuple):
    """Pictures, the mask of the second eye's iris, and the iris colours."""

    images: NDArray[np.uint8]
    second_eye: NDArray[np.bool_]
    eyes: NDArray[np.int64]


def draw_faces(start: int, stop: int, size: int = 32, version: Version = "coupled", split: str = "train") -> Faces:
    """Draw pictures ``start`` to ``stop`` of a split.

    Picture ``i`` does not depend on the others drawn with it; splits share no random numbers.

    Returns:
        images uint8 ``[N, size, size, 3]``; second_eye bool ``[N, size, size]``, never empty: the pixels of which
        the iris of the second eye covers at least a quarter; eyes int64 ``[N, 2]``: the iris colour of each eye, as
        an index into ``facepaint.IRIS``.

    Raises:
        UsageError: the size is below 16.
    """
    if size < facepaint.SMALLEST:
        raise UsageError(f"synthetic faces need at least {facepaint.SMALLEST} pixels a side, not {size}")
    count = stop - start
    images, masks = np.empty((count, size, size, 3), np.uint8), np.empty((count, size, size), np.bool_)
    eyes = np.empty((count, 2), np.int64)
    for low in range(start, stop, _CHUNK):
        part = slice(low - start, min(low + _CHUNK, stop) - start)
        look = draw_look(_uniforms(split, low, start + part.stop), version)
        images[part], masks[part] = facepaint.paint(look, size)
        eyes[part] = np.stack([look.first_iris, look.second_iris], axis=1)
    return Faces(images, masks, eyes)


def draw_look(uniforms: NDArray[np.float64], version: Version) -> Look:
    """What each picture shows, from its own random numbers ``[N, 64]`` in [0, 1)."""
    column = iter(uniforms.T)
    first_iris, own_iris = ((next(column) * len(facepaint.IRIS)).astype(np.int64) for _ in range(2))
    left, own_panel = (Panel(**_draw(Panel, column)) for _ in range(2))
    second_iris, right = (first_iris, left) if version == "coupled" else (own_iris, own_panel)
    return Look(first_iris, second_iris, left, right, **_draw(Look, column))


def _draw(kind: type[Panel | Look], column: Iterator[NDArray[np.float64]]) -> dict[str, Any]:
    return {field.name: field.metadata["draw"](next(column)) for field in fields(kind) if field.metadata}


def _uniforms(split: str, start: int, stop: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), one row per picture, which depends only on the split and the picture's index."""
    raw = words(_SEED, Stream.PICTURES, _SPLITS[split], (stop - start) * _DRAWS, start * _DRAWS)
    return np.asarray((raw >> np.uint64(11)).reshape(-1, _DRAWS) * 2.0**-53, np.float64)
