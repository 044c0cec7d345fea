"""A data configuration with everything filled in that its card knows (torch-free)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avq.data.cards import get_card
from avq.data.config import DataConfig
from avq.data.splits import SPLITS
from avq.errors import UsageError


def resolve(config: DataConfig) -> DataConfig:
    """The same data with every default of the card filled in; counts that only the files know stay ``None``.

    Raises:
        UsageError: unknown dataset, or a size or count that it does not have.
    """
    card = get_card(config.dataset)
    size = config.image_size or card.default_size
    if card.kind == "cifar10" and size > card.native_size:
        native = f"{card.native_size}x{card.native_size}"
        raise UsageError(f"{card.name} is {native}: image_size = {size} would only invent pixels")
    counts: dict[str, Any] = {}
    for split in SPLITS:
        asked, known = getattr(config, f"{split}_images"), card.images.get(split)
        if asked and known and asked > known and card.kind != "synthetic-faces":
            raise too_few(card.name, split, asked, known)
        counts[f"{split}_images"] = asked or known
    return replace(config, image_size=size, **counts)


def too_few(name: str, split: str, asked: int, there: int) -> UsageError:
    return UsageError(f"{name} has {there:,} {split} images; {split}_images = {asked:,} asks for more")
