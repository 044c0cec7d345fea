"""The images of CIFAR-10, at its own size or reduced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avq.data import cifar10
from avq.data.cards import Card
from avq.data.resize import fit_square
from avq.data.resolve import too_few
from avq.data.roots import resolve_root
from avq.data.sources import ImageSet, image_set


def read(card: Card, root: Path | None, size: int, counts: Mapping[str, int | None]) -> dict[str, ImageSet]:
    """The first images of each split; downloaded where no root is named and they are not there."""
    where, named = resolve_root(root)
    if not named and not cifar10.is_there(card, where):
        cifar10.download(card, where)
    cifar10.verify(card, where)
    parts = {}
    for split, images in cifar10.load_cifar10(card, where).items():
        count = counts[split]
        if count is not None and count > len(images):
            raise too_few(card.name, split, count, len(images))
        first = images[:count]
        parts[split] = image_set(first if first.shape[1] == size else _reduced(first, size))
    return parts


def _reduced(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.stack([fit_square(Image.fromarray(image), size) for image in images])
