"""From a data configuration to the images of its three splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from avq.data import cifar10
from avq.data.cards import Card, get_card
from avq.data.config import DataConfig
from avq.data.fingerprint import fingerprint, resolve, too_few
from avq.data.hashing import address_of_images
from avq.data.locate import prepared_set
from avq.data.resize import fit_square
from avq.data.roots import resolve_root
from avq.data.splits import SPLITS
from avq.data.synthetic import Version, draw_faces

__all__ = ["Dataset", "ImageSet", "fingerprint", "load_dataset"]


@dataclass(frozen=True)
class ImageSet:
    """The images of one split.

    Attributes:
        images: uint8 ``[N, H, W, 3]``.
        second_eye: bool ``[N, H, W]``, the iris of the second eye, where the dataset has one.
        fingerprint: address of exactly these images in this order, 16 hexadecimal digits.
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
    """Map, load, draw or (CIFAR-10, where no root is named) download the images of a run.

    Args:
        config: what to load; a count takes the first images of the split's fixed order.
        root: where the files lie; else ``$AVQ_DATA_ROOT``, else the user's cache.

    Raises:
        UsageError: unknown dataset; files missing, truncated, tampered with or unreadable; more images asked
            for than there are.
        AvqError: a download failed.
    """
    resolved = resolve(config)
    card = get_card(config.dataset)
    assert resolved.image_size is not None
    counts = {split: getattr(resolved, f"{split}_images") for split in SPLITS}
    if card.kind == "synthetic-faces":
        parts = {split: _drawn(card, split, counts[split], resolved.image_size) for split in SPLITS}
    elif card.kind == "folder":
        parts = _mapped(card, root, resolved.image_size, counts)
    else:
        read = _read(card, root, resolved.image_size, counts)
        parts = {split: _image_set(part, None) for split, part in read.items()}
    return Dataset(card.name, resolved.image_size, card, parts["train"], parts["validation"], parts["test"])


def _drawn(card: Card, split: str, count: int, size: int) -> ImageSet:
    faces = draw_faces(0, count, size, cast(Version, card.options["version"]), split)
    return _image_set(faces.images, faces.second_eye)


def _mapped(card: Card, root: Path | None, size: int, counts: dict[str, int | None]) -> dict[str, ImageSet]:
    """Memory-mapped from a prepared set: processes share the pages, and only what is looked at is read."""
    prepared, parts = prepared_set(card, root, size), {}
    for split, there in prepared.counts.items():
        count = counts[split] or there
        if count > there:
            raise too_few(card.name, split, count, there)
        images = torch.from_numpy(prepared.images(split, count))
        parts[split] = ImageSet(images, None, prepared.address(split, count))
    return parts


def _read(card: Card, root: Path | None, size: int, counts: dict[str, int | None]) -> dict[str, NDArray[np.uint8]]:
    where, named = resolve_root(root)
    if not named and not cifar10.is_there(card, where):
        cifar10.download(card, where)
    cifar10.verify(card, where)
    images = cifar10.load_cifar10(card, where)
    for split, part in images.items():
        count = counts[split]
        if count is not None and count > len(part):
            raise too_few(card.name, split, count, len(part))
        kept = part[:count]
        images[split] = kept if kept.shape[1] == size else _reduced(kept, size)
    return images


def _reduced(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.stack([fit_square(Image.fromarray(image), size) for image in images])


def _image_set(images: NDArray[np.uint8], second_eye: NDArray[np.bool_] | None) -> ImageSet:
    mask = None if second_eye is None else torch.from_numpy(second_eye)
    return ImageSet(torch.from_numpy(images), mask, address_of_images(images))
