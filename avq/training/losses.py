"""What a model is trained on: reconstruction, perceptual and adversarial losses, each a mean over the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.errors import UsageError
from avq.metrics.perceptual import BACKBONES, find_perceptual
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


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """What the model minimises on the logits of its reconstructions.

    `bce`: -log D (the non-saturating form of arXiv 1406.2661, sec. 3); `hinge`: arXiv 1802.05957, eq. 17;
    `lsgan`: arXiv 1611.04076, eq. 9, with targets 0 and 1.
    """
    if kind == "bce":
        return F.softplus(-fake).mean()
    if kind == "hinge":
        return -fake.mean()
    return (fake - 1).square().mean()


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises: the mean of its loss on real images and on reconstructions (logits)."""
    if kind == "bce":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def accuracy(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Share of logits on the right side of the middle, 0 to 1; 1/2 is chance."""
    middle = 0.5 if kind == "lsgan" else 0.0
    return ((real > middle).float().mean() + (fake < middle).float().mean()) / 2


def gradient_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """R1 without its gamma / 2: the squared norm of the logits' gradient, mean over images (arXiv 1801.04406, eq. 9).

    An image's score is the mean of its logits, so that the penalty does not grow with the grid.

    Args:
        images: `[B, 3, H, W]`, with `requires_grad`.
        logits: `[B, 1, h, w]`, computed from them.
    """
    (gradient,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


class PerceptualLoss(nn.Module):
    """LPIPS as a loss: the network of the metric `lpips-<net>`, with its gradient.

    A model trained on it has learned that metric: compare such rows by another.

    Raises:
        UsageError: the weights are not here; says how to mend that.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        found = find_perceptual(net, BACKBONES[net].smallest)
        if isinstance(found, str):
            raise UsageError(f"perceptual = '{net}': {found}")
        self.network = found.network

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Mean distance of float images `[B, 3, H, W]` around [-1, 1]; the network computes in float32."""
        with torch.autocast(images.device.type, enabled=False):
            distance: Tensor = self.network(images.float(), target.float())
        return distance.mean()
