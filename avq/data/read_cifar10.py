"""The images of CIFAR-10, at their own size or reduced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from avq.data import cifar10
from avq.data.cards import Card
from avq.data.config import check_count
from avq.data.resize import fit_square
from avq.data.roots import resolve_root
from avq.data.sources import ImageSet, image_set


def read(card: Card, root: Path | None, size: int, counts: Mapping[str, int | None]) -> dict[str, ImageSet]:
    """The first images of each split; downloaded where they are missing and the user named no root."""
    where, named = resolve_root(root)
    if not named and not cifar10.is_there(card, where):
        cifar10.download(card, where)
    cifar10.verify(card, where)
    parts = {}
    for split, images in cifar10.load_cifar10(card, where).items():
        check_count(card.name, split, counts[split], len(images))
        first = images[: counts[split]]
        if size != first.shape[1]:
            first = np.stack([fit_square(Image.fromarray(image), size) for image in first])
        parts[split] = image_set(first)
    return parts
