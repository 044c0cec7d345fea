"""From a data configuration to the images of its three splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avq.data.cards import Card, get_card, reader
from avq.data.config import DataConfig, resolve
from avq.data.hashing import fingerprint_of_images
from avq.data.splits import SPLITS
from avq.registry import load


@dataclass(frozen=True)
class ImageSet:
    """The images of one split.

    Attributes:
        images: uint8 ``[N, H, W, 3]``.
        second_eye: bool ``[N, H, W]``, the iris of the second eye; None for other images than drawn faces.
        fingerprint: of exactly these images in this order, 16 hexadecimal digits.
    """

    images: Tensor
    second_eye: Tensor | None
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits at one size."""

    name: str
    image_size: int
    card: Card
    train: ImageSet
    validation: ImageSet
    test: ImageSet


def load_dataset(config: DataConfig, root: Path | None = None) -> Dataset:
    """Load, memory-map, draw or (CIFAR-10, where no root is named) download the images of a run.

    Args:
        config: what to load; a count takes the first images of the split's fixed order.
        root: the folder of the files; else ``$AVQ_DATA_ROOT``, else the user's cache.

    Raises:
        UsageError: unknown dataset; files missing, truncated, changed or unreadable; more images requested than exist.
        AvqError: a download failed.
    """
    resolved, card = resolve(config), get_card(config.dataset)
    assert resolved.image_size is not None
    counts = {split: getattr(resolved, f"{split}_images") for split in SPLITS}
    parts = load(f"{reader(card)}:read", f"dataset {card.name}")(card, root, resolved.image_size, counts)
    return Dataset(card.name, resolved.image_size, card, **parts)


def image_set(images: NDArray[np.uint8], second_eye: NDArray[np.bool_] | None = None) -> ImageSet:
    """Images in memory, ``[N, H, W, 3]``, with the masks of the second eyes' irises, ``[N, H, W]``, if any."""
    mask = None if second_eye is None else torch.from_numpy(second_eye)
    return ImageSet(torch.from_numpy(images), mask, fingerprint_of_images(images))
