"""Settings of one training run. Torch-free, so that plans and `--help` cost nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from avq.errors import UsageError

STATE_FILE = "state.safetensors"
"""Where, in a run's folder, a training keeps what it needs to go on."""


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class TrainConfig:
    """How one model is trained. The seed is not among it: it is a property of the run."""

    steps: int = _setting(1000, help="optimiser steps")
    batch_size: int = _setting(64, help="images a step")
    learning_rate: float = _setting(1e-3, help="peak learning rate of AdamW")
    warmup_steps: int = _setting(100, help="steps of linear warm-up, at most a tenth of all; then cosine decay to 0")
    beta1: float = _setting(0.9, help="AdamW's decay of the first moment")
    weight_decay: float = _setting(1e-4, help="decoupled weight decay")
    grad_clip: float = _setting(1.0, help="largest gradient norm")
    loss: Literal["mae", "mse"] = _setting("mae", help="reconstruction loss, on images in [-1, 1]")
    precision: Literal["auto", "float32", "bfloat16"] = _setting(
        "auto", help="arithmetic of convolutions; attention and quantiser are float32 always"
    )
    validate_every: int = _setting(100, help="steps between two points of the validation curve")

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.learning_rate <= 0 or self.grad_clip <= 0:
            raise UsageError("learning_rate and grad_clip must be above 0.")
        if not 0 <= self.beta1 < 1:
            raise UsageError(f"beta1 must be at least 0 and below 1, not {self.beta1}.")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise UsageError("warmup_steps and weight_decay must not be negative.")


TRAIN_SETTINGS: dict[str, str] = {f.name: f.metadata["help"] for f in fields(TrainConfig)}
"""Every training setting and a line about it."""
