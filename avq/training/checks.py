"""Checks of the losses, before any training."""

from __future__ import annotations

from avq.errors import UsageError
from avq.metrics.perceptual import BACKBONES
from avq.metrics.weights import MissingWeightsError, find_weights
from avq.models.discriminator import PatchDiscriminator
from avq.training.config import TrainConfig


def check_losses(config: TrainConfig, image_size: int) -> None:
    """UsageError, with the fix, where images of that side are too small for a loss, or its weights are missing."""
    if config.perceptual != "none":
        backbone = BACKBONES[config.perceptual]
        if image_size < backbone.smallest:
            raise UsageError(f"perceptual = '{config.perceptual}' needs images of at least {backbone.smallest} px.")
        try:
            find_weights(backbone.weights)
        except MissingWeightsError as error:
            raise UsageError(f"perceptual = '{config.perceptual}': {error}") from None
    if config.adversarial != "none" and PatchDiscriminator(config.discriminator).logits_side(image_size) < 1:
        raise UsageError(f"discriminator = '{config.discriminator}' needs larger images than {image_size} px.")
