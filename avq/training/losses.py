"""What a discriminator and a model against it are trained on, each a mean over the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
