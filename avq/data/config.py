"""What a run may choose about its data, with the defaults of the dataset's card (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from avq.data.cards import get_card
from avq.errors import UsageError

SMALLEST_IMAGE = 16
LARGEST_IMAGE = 2048

DATA_SETTINGS: dict[str, str] = {
    "dataset": "name of a dataset card (avq-bench list datasets)",
    "image_size": "height and width of the images in pixels; default: the card's",
    "train_images": "how many training images, the first of a fixed order; default: all",
    "validation_images": "how many images held out of train, the first of a fixed order; default: all",
    "test_images": "how many test images, the first of a fixed order; default: all",
}


@dataclass(frozen=True)
class DataConfig:
    """The data of a run. ``None`` means the card's default size, or all images of the split.

    Raises:
        UsageError: a size or a count is not a positive whole number, or a size is out of range.
    """

    dataset: str = "synthetic-faces"
    image_size: int | None = None
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{field.name} must be a positive whole number, not {value!r}")
        size = self.image_size
        if size is not None and not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
            raise UsageError(f"image_size must be from {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels, not {size}")


def resolve(config: DataConfig) -> DataConfig:
    """The same data with the defaults of its card; counts that only the files can show stay ``None``.

    Raises:
        UsageError: unknown dataset, or a size or count that it does not have.
    """
    card = get_card(config.dataset)
    size = config.image_size or card.default_size
    if card.kind == "cifar10" and size > card.native_size:
        native = f"{card.native_size}x{card.native_size}"
        raise UsageError(f"{card.name} is {native}: image_size = {size} would only invent pixels")
    counts: dict[str, Any] = {}
    for split in ("train", "validation", "test"):
        asked, known = getattr(config, f"{split}_images"), card.images.get(split)
        if known and card.kind != "synthetic-faces":
            check_count(card.name, split, asked, known)
        counts[f"{split}_images"] = asked or known
    return replace(config, image_size=size, **counts)


def check_count(name: str, split: str, asked: int | None, available: int) -> None:
    """UsageError where more images of a split are asked for than a dataset has."""
    if asked and asked > available:
        raise UsageError(f"{name} has {available:,} {split} images; {split}_images = {asked:,} asks for more")
