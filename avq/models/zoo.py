"""Building variants by name, and bringing in a user's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from avq.errors import UsageError
from avq.models.autoencoder import Autoencoder
from avq.models.config import AutoencoderConfig, variant_config, variant_entry
from avq.models.tokenizer import Recipe, Tokenizer, check_image_size


def create_variant(name: str, image_size: int = 32, width: int | None = None, **overrides: Any) -> Tokenizer:
    """Build an untrained variant of the zoo.

    Args:
        name: one of `avq.list_variants()`.
        image_size: side of the images in pixels; the variant's strides must divide it.
        width: channels of the trunk; None keeps the published width.
        **overrides: any of `avq.models.config.MODEL_SETTINGS`.

    Returns:
        A `Tokenizer`: `forward(images) -> Reconstruction`, `encode`, `decode`; images `[B, 3, H, W]` in [-1, 1].

    Raises:
        UsageError: unknown name or setting, a value of the wrong kind, or an image size that does not fit.
    """
    if width is not None:
        overrides["width"] = width
    return build_from_config(name, image_size, variant_config(name, **overrides))


def build_from_config(name: str, image_size: int, config: dict[str, Any]) -> Tokenizer:
    """Build a variant from settings as `variant_config` resolved them (those of a stored run, say).

    Errors as `create_variant`.
    """
    factory = variant_entry(name).factory
    if factory is not None:
        model = _import(name, factory)(image_size=image_size, **config)
    else:
        settings = AutoencoderConfig(**config)
        check_image_size(image_size, settings.stride)
        model = Autoencoder(settings)
    model.recipe = Recipe(name, image_size, config)
    return model


def _import(name: str, path: str) -> Callable[..., Tokenizer]:
    module, _, attribute = path.partition(":")
    try:
        return cast(Callable[..., Tokenizer], getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise UsageError(f"variant '{name}' names a factory '{path}' that cannot be imported: {error}.") from error
