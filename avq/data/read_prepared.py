"""The images of a dataset of photographs, memory-mapped from its prepared set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from avq.data.cards import Card
from avq.data.locate import prepared_set
from avq.data.resolve import too_few
from avq.data.sources import ImageSet


def read(card: Card, root: Path | None, size: int, counts: Mapping[str, int | None]) -> dict[str, ImageSet]:
    """The first images of each split; processes share their pages, and only what is looked at is read."""
    prepared, parts = prepared_set(card, root, size), {}
    for split, there in prepared.counts.items():
        count = counts[split] or there
        if count > there:
            raise too_few(card.name, split, count, there)
        images = torch.from_numpy(prepared.images(split, count))
        parts[split] = ImageSet(images, None, prepared.address(split, count))
    return parts
