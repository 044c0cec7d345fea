"""Whether the losses that settings ask for can be computed, before anything is spent."""

from __future__ import annotations

from avq.errors import UsageError
from avq.metrics.perceptual import BACKBONES
from avq.metrics.weights import MissingWeightsError, find_weights
from avq.models.discriminator import discriminator
from avq.training.config import TrainConfig


def check_losses(config: TrainConfig, image_size: int) -> None:
    """Whether the losses can be computed on images of that side, before anything is spent.

    Raises:
        UsageError: images too small for a network, or weights that are not here; says how to mend that.
    """
    if config.perceptual != "none":
        backbone = BACKBONES[config.perceptual]
        if image_size < backbone.smallest:
            raise UsageError(f"perceptual = '{config.perceptual}' needs images of at least {backbone.smallest} px.")
        try:
            find_weights(backbone.weights)
        except MissingWeightsError as error:
            raise UsageError(f"perceptual = '{config.perceptual}': {error}") from None
    if config.adversarial != "none" and discriminator(config.discriminator).logits_side(image_size) < 1:
        raise UsageError(f"discriminator = '{config.discriminator}' needs larger images than {image_size} px.")
