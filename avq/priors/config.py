"""Settings of a prior. Torch-free, so that plans and `--help` are fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

from avq.errors import UsageError
from avq.fields import setting
from avq.training.config import TrainConfig

VALIDATIONS = 6
"""Points of the convergence curve."""


@dataclass(frozen=True)
class PriorConfig:
    """Size and budget of a prior; one for all rows of a table."""

    prior_width: int = setting(96, help="channels of the prior's transformer")
    prior_layers: int = setting(3, help="blocks of the prior's transformer")
    prior_heads: int = setting(3, help="attention heads a block; a divisor of prior_width")
    prior_steps: int = setting(1500, help="training steps of the prior, of 64 images each")

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.prior_width % self.prior_heads:
            raise UsageError(f"prior_heads={self.prior_heads} does not divide prior_width={self.prior_width}.")

    def budget(self) -> TrainConfig:
        """How it is trained: AdamW with one learning rate for all priors, warm-up, and cosine decay to 0."""
        return TrainConfig(
            steps=self.prior_steps,
            batch_size=64,
            learning_rate=2e-3,
            weight_decay=0.01,
            validate_every=math.ceil(self.prior_steps / VALIDATIONS),
        )
