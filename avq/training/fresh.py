"""The model that a run begins with."""

from __future__ import annotations

import torch

from avq.models.recipe import Recipe, build
from avq.models.tokenizer import Tokenizer
from avq.training.seeds import derive_seed


def fresh_model(recipe: Recipe, seed: int) -> Tokenizer:
    """A model, untrained, its weights drawn by a run's seed. Errors as `avq.models.build.build`."""
    torch.manual_seed(derive_seed(seed, "initialisation"))
    return build(recipe)
