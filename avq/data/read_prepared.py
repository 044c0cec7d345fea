"""The images of a dataset of photographs, memory-mapped from its prepared set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from avq.data.cards import Card
from avq.data.config import check_count
from avq.data.locate import prepared_set
from avq.data.sources import ImageSet


def read(card: Card, root: Path | None, size: int, counts: Mapping[str, int | None]) -> dict[str, ImageSet]:
    """The first images of each split; processes share their memory, and only the images used are read."""
    prepared, parts = prepared_set(card, root, size), {}
    for split, available in prepared.counts.items():
        check_count(card.name, split, counts[split], available)
        count = counts[split] or available
        images = torch.from_numpy(prepared.images(split, count))
        parts[split] = ImageSet(images, None, prepared.fingerprint(split, count))
    return parts
