"""Settings of one training run. Torch-free, so that plans and `--help` are fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from avq.errors import UsageError
from avq.fields import departures, setting, unstated

CHECKPOINT_FILE = "checkpoint.safetensors"
"""The final model, in the run's folder."""

STATE_FILE = "state.safetensors"
"""The resume checkpoint, in the run's folder."""

BEST_FILE = "best.safetensors"
"""The model of the best validation step, in the run's folder; no table uses it."""

HISTORY_FOLDER = "history"
"""The folder of the models of the latest validation steps, `step-<number>.safetensors`."""


_RANGES: tuple[tuple[tuple[str, ...], str, Callable[[float], bool]], ...] = (
    (("steps", "batch_size", "validate_every", "grad_accum_steps"), "be at least 1", lambda value: value >= 1),
    (("learning_rate", "grad_clip", "discriminator_learning_rate"), "be above 0", lambda value: value > 0),
    (("beta1", "weight_ema"), "be at least 0 and below 1", lambda value: 0 <= value < 1),
    (
        ("warmup_steps", "weight_decay", "keep_history", "reconstruction_weight", "perceptual_weight",
         "adversarial_weight", "disc_start", "r1_gamma"),
        "not be negative",
        lambda value: value >= 0,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How one model is trained; the seed is a property of the run."""

    steps: int = setting(1000, help="optimiser steps")
    batch_size: int = setting(64, help="images a step")
    learning_rate: float = setting(1e-3, help="peak learning rate of AdamW")
    warmup_steps: int = setting(100, help="steps of linear warm-up, at most a tenth of all; then cosine decay to 0")
    beta1: float = setting(0.9, help="AdamW's decay of the first moment")
    weight_decay: float = setting(1e-4, help="decoupled weight decay")
    grad_clip: float = setting(1.0, help="largest gradient norm")
    loss: Literal["mae", "mse"] = setting("mae", help="reconstruction loss, on images in [-1, 1]")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", help="arithmetic of convolutions; attention and quantizer are float32 always"
    )
    validate_every: int = setting(100, help="steps between two validation steps")
    weight_ema: float = setting(0.0, help="decay of averaged weights, which are then evaluated and saved; 0: none")
    compile: Literal["auto", "on", "off"] = setting(
        "auto", help="torch.compile of the model in training; auto compiles where a gain was measured"
    )
    keep_history: int = setting(0, help="models of the latest validation steps to save beside the last and the best")
    reconstruction_weight: float = setting(1.0, help="weight of the reconstruction loss")
    perceptual: Literal["none", "squeeze", "alex", "vgg"] = setting(
        "none", help="network of a perceptual loss (LPIPS); its weights must be present (avq-bench weights)"
    )
    perceptual_weight: float = setting(1.0, help="weight of the perceptual loss")
    adversarial: Literal["none", "bce", "hinge", "lsgan"] = setting(
        "none", help="loss of a PatchGAN discriminator and of the model against it"
    )
    adversarial_weight: float = setting(0.02, help="weight of the adversarial loss")
    disc_start: int = setting(0, help="steps before the discriminator begins")
    adaptive_weight: bool = setting(
        False, help="scale the adversarial loss by the ratio of gradient norms at the decoder's last layer"
    )
    discriminator: Literal["sibling", "pix2pix"] = setting(
        "sibling", help="the sibling code's six 3x3 layers, or the usual PatchGAN of 70x70 pixels"
    )
    discriminator_learning_rate: float | None = setting(None, help="its peak learning rate; default: the model's")
    spectral_norm: bool = setting(False, help="spectral normalisation in it, in place of batch normalisation")
    r1_gamma: float = setting(0.0, help="gamma of the R1 gradient penalty on real images")
    grad_accum_steps: int = setting(1, help="slices of a batch, whose gradients are added up; saves memory")
    checkpoint_activations: bool = setting(
        False, help="recompute activations of blocks and attention in the backward pass; saves memory"
    )

    def __post_init__(self) -> None:
        for names, words, fits in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not fits(value):
                    raise UsageError(f"{name} must {words}, not {value}.")
        if self.batch_size % self.grad_accum_steps:
            raise UsageError(f"grad_accum_steps={self.grad_accum_steps} does not divide batch_size={self.batch_size}.")


TRAIN_SETTINGS: dict[str, str] = {f.name: f.metadata["help"] for f in fields(TrainConfig)}
"""Every training setting with its help."""

NEEDS: dict[str, str] = {"perceptual_weight": "perceptual"} | dict.fromkeys(
    (
        "adversarial_weight", "disc_start", "adaptive_weight", "discriminator", "discriminator_learning_rate",
        "spectral_norm", "r1_gamma",
    ),
    "adversarial",
)  # fmt: skip
"""Settings that do nothing while another one, a loss, is "none"."""

_COSTLY = (
    "perceptual", "adversarial", "adaptive_weight", "discriminator", "spectral_norm", "r1_gamma", "grad_accum_steps",
    "checkpoint_activations", "weight_ema", "compile",
)  # fmt: skip


def effective(config: TrainConfig) -> dict[str, Any]:
    """All settings, with those that do nothing as a fingerprint leaves them: equal settings mean equal training."""
    values, left = asdict(config), unstated(TrainConfig)
    return values | {name: left[name] for name, of in NEEDS.items() if values[of] == "none"}


def step_settings(train: Mapping[str, Any]) -> dict[str, Any]:
    """Of `effective` settings, those that make a step cost other than the plain one of that batch and precision."""
    return departures(TrainConfig, {name: train[name] for name in _COSTLY})


LOSSES = {"perceptual": "avq.training.perceptual:PerceptualLoss", "adversarial": "avq.training.adversarial:Adversary"}
"""The code of the losses that settings select; the fingerprint of a training without one leaves it out."""


def training_parts(train: Mapping[str, Any]) -> list[str]:
    """The losses, as "module:callable", that `effective` settings ask for."""
    return [path for name, path in LOSSES.items() if train[name] != "none"]
