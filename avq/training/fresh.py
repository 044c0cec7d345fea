"""The model that a run begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from avq.models.tokenizer import Tokenizer
from avq.models.zoo import build_from_config
from avq.training.seeds import derive_seed


def fresh_model(variant: str, image_size: int, model: Mapping[str, Any], seed: int) -> Tokenizer:
    """A variant of the zoo, untrained, its weights drawn by a run's seed.

    Args:
        variant: its name.
        image_size: side of the images in pixels.
        model: all its settings, resolved.
        seed: the run's.
    """
    torch.manual_seed(derive_seed(seed, "initialisation"))
    return build_from_config(variant, image_size, dict(model))
