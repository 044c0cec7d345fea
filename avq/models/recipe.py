"""What a model is built from, and which modules it is made of. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avq.models.quantizers.registry import QUANTIZERS

AUTOENCODER = "avq.models.autoencoder:autoencoder"
ATTENTION = "avq.models.attention"
"""The module that a model has if its setting `attention` is not "none"."""


class Recipe(NamedTuple):
    """What `build` takes.

    Attributes:
        variant: the name it goes by.
        image_size: side of the images in pixels.
        config: all settings, resolved.
        factory: "package.module:callable"; None for the suite's autoencoder.
    """

    variant: str
    image_size: int
    config: dict[str, Any]
    factory: str | None = None


def parts_of(factory: str | None, config: Mapping[str, Any]) -> list[str]:
    """The modules that a model is made of, as far as its factory and settings choose them.

    Raises:
        UsageError: its quantizer is not registered.
    """
    if factory is not None:
        return [_module(factory)]
    parts = [_module(AUTOENCODER), _module(QUANTIZERS.find(config.get("quantizer", "vq")).factory)]
    return parts if config.get("attention", "none") == "none" else [*parts, ATTENTION]


def _module(path: str) -> str:
    return path.partition(":")[0]
