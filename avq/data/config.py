"""What a run may choose about its data (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
    """The data of a run. ``None`` means the card's default size, or all images there are.

    Raises:
        UsageError: a size or a count is not a positive whole number, or a size is out of range.
    """

    dataset: str = "synthetic-faces"
    image_size: int | None = None
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "dataset" or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{field.name} must be a positive whole number, not {value!r}")
        if self.image_size is not None and not SMALLEST_IMAGE <= self.image_size <= LARGEST_IMAGE:
            raise UsageError(
                f"image_size must be from {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels, not {self.image_size}"
            )
