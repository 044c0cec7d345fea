"""The discriminator's side of a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.errors import UsageError
from avq.models.discriminator import PatchDiscriminator

if TYPE_CHECKING:
    from avq.models.tokenizer import Tokenizer
    from avq.training.config import TrainConfig

_LARGEST_ADAPTIVE = 1e4  # as in the authors' code of arXiv 2012.09841
_LEAST_GRADIENT = 1e-4


class Adversary:
    """The adversarial loss of the model, and the discriminator's own training.

    Real and reconstructed images always pass the discriminator in one batch (why: `PatchDiscriminator`). `autocast`
    returns the context in which it computes. UsageError for `adaptive_weight` with a model that has no convolution in a
    `decoder`.
    """

    def __init__(
        self, config: TrainConfig, model: Tokenizer, autocast: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.config, self.autocast = config, autocast
        self._last = model.find_last_weight() if config.adaptive_weight else None
        if config.adaptive_weight and self._last is None:
            raise UsageError("adaptive_weight needs a model with a `decoder` of convolutions; leave it out.")

    def discriminator(self) -> nn.Module:
        """The discriminator, untrained."""
        return PatchDiscriminator(self.config.discriminator, self.config.spectral_norm)

    def plays(self, step: int) -> bool:
        """Whether the discriminator takes part in that step (from 0)."""
        return step >= self.config.disc_start

    def ratio(self, main: Tensor, adversarial: Tensor) -> Tensor:
        """Ratio of the losses' gradient norms at the decoder's last layer (arXiv 2012.09841, eq. 7), a constant."""
        assert self._last is not None
        losses = (main, adversarial)
        norms = [torch.autograd.grad(loss, self._last, retain_graph=True)[0].float().norm() for loss in losses]
        ratio: Tensor = norms[0] / (norms[1] + _LEAST_GRADIENT)
        return ratio.clamp(max=_LARGEST_ADAPTIVE)

    def against(self, module: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The model's adversarial loss on reconstructions with a graph; leaves no gradient in the discriminator."""
        with _frozen(module):
            return generator_loss(self.config.adversarial, self._judge(module, real, fake)[1])

    def learn(self, module: nn.Module, real: Tensor, fake: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """Add `share` of the gradient of one discriminator step, on detached reconstructions.

        Returns detached scalars: the loss (with its penalty), the mean logits of both kinds, and the accuracy.
        """
        kind, r1 = self.config.adversarial, self.config.r1_gamma
        real = real.detach().requires_grad_(r1 > 0)
        true, false = self._judge(module, real, fake)
        loss = discriminator_loss(kind, true, false)
        logs = {"discriminator-real": true.mean(), "discriminator-fake": false.mean(),
                "discriminator-accuracy": accuracy(kind, true, false)}  # fmt: skip
        if r1 > 0:
            logs["loss-r1"] = r1 / 2 * gradient_penalty(real, true)
            loss = loss + logs["loss-r1"]
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in {"loss-discriminator": loss, **logs}.items()}

    def _judge(self, module: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 logits of images and reconstructions `[B, 3, H, W]`."""
        with self.autocast():
            logits = module(torch.cat([real, fake])).float()
        return logits[: len(real)], logits[len(real) :]


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Within it the module's parameters take no gradient, but its inputs do."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """What the model minimises on the logits of its reconstructions, a mean over the batch.

    `bce`: -log D (the non-saturating form of arXiv 1406.2661, sec. 3); `hinge`: arXiv 1802.05957, eq. 17;
    `lsgan`: arXiv 1611.04076, eq. 9, with targets 0 and 1.
    """
    if kind == "bce":
        return F.softplus(-fake).mean()
    return -fake.mean() if kind == "hinge" else (fake - 1).square().mean()


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises: the mean of its loss on real images and on reconstructions (logits)."""
    if kind == "bce":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def accuracy(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Share of logits on the right side of the middle, 0 to 1; chance is 1/2."""
    middle = 0.5 if kind == "lsgan" else 0.0
    return ((real > middle).float().mean() + (fake < middle).float().mean()) / 2


def gradient_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """R1 without its gamma / 2: the squared norm of the logits' gradient, mean over images (arXiv 1801.04406, eq. 9).

    An image's score is the mean of its logits `[B, 1, h, w]`, so that the penalty does not grow with their number; they
    are computed from `images` `[B, 3, H, W]` with `requires_grad`.
    """
    (gradient,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
