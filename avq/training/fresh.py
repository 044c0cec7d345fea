"""What a run's seed decides: the random streams, and the model that training begins with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from avq.models.recipe import Recipe, build
from avq.models.tokenizer import Tokenizer

_STREAMS = ("initialisation", "data", "sampling")


def derive_seed(seed: int, stream: Literal["initialisation", "data", "sampling"]) -> int:
    """A 32-bit seed for one of a run's three independent random streams."""
    return int(np.random.SeedSequence([seed, _STREAMS.index(stream)]).generate_state(1)[0])


def fresh_model(recipe: Recipe, seed: int) -> Tokenizer:
    """An untrained model with weights drawn by a run's seed; errors as `avq.models.recipe.build`."""
    torch.manual_seed(derive_seed(seed, "initialisation"))
    return build(recipe)
