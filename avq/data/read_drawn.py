"""The images of a dataset of drawn faces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from avq.data.cards import Card
from avq.data.sources import ImageSet, image_set
from avq.data.synthetic import Version, draw_faces


def read(card: Card, _root: Path | None, size: int, counts: Mapping[str, int]) -> dict[str, ImageSet]:
    """As many drawn faces of that size as each split has."""
    version = cast(Version, card.options["version"])
    drawn = {split: draw_faces(0, count, size, version, split) for split, count in counts.items()}
    return {split: image_set(faces.images, faces.second_eye) for split, faces in drawn.items()}
