"""What a model is built from, and which modules it is made of. Torch-free until a model is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from avq.models.quantizers.registry import QUANTIZERS
from avq.registry import load

if TYPE_CHECKING:
    from avq.models.tokenizer import Tokenizer

AUTOENCODER = "avq.models.autoencoder:autoencoder"
ATTENTION = "avq.models.attention"
"""The module that a model uses if its setting `attention` is not "none"."""


class Recipe(NamedTuple):
    """What `build` takes.

    Attributes:
        variant: its name.
        image_size: side of the images in pixels.
        config: all settings, resolved.
        factory: "package.module:callable"; None for the suite's autoencoder.
    """

    variant: str
    image_size: int
    config: dict[str, Any]
    factory: str | None = None


def build(recipe: Recipe) -> Tokenizer:
    """An untrained model; UsageError for a factory that cannot be imported, or settings or a size that do not fit."""
    factory = load(recipe.factory or AUTOENCODER, f"variant '{recipe.variant}'")
    model: Tokenizer = factory(image_size=recipe.image_size, **recipe.config)
    model.recipe = recipe
    return model


def parts_of(factory: str | None, config: Mapping[str, Any]) -> list[str]:
    """What a factory and settings make a model of: modules, or "module:callable".

    Raises:
        UsageError: the quantizer is not registered.
    """
    if factory is not None:
        return [factory]
    parts = [AUTOENCODER, QUANTIZERS.find(config.get("quantizer", "vq")).factory]
    return parts if config.get("attention", "none") == "none" else [*parts, ATTENTION]
