"""Building a model from its recipe."""

from __future__ import annotations

from avq.models.recipe import AUTOENCODER, Recipe
from avq.models.tokenizer import Tokenizer
from avq.registry import load


def build(recipe: Recipe) -> Tokenizer:
    """Build an untrained model.

    Raises:
        UsageError: a factory that cannot be imported, settings that do not fit, or an image size that does not.
    """
    factory = load(recipe.factory or AUTOENCODER, f"variant '{recipe.variant}'")
    model: Tokenizer = factory(image_size=recipe.image_size, **recipe.config)
    model.recipe = recipe
    return model
