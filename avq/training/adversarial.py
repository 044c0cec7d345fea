"""The discriminator's side of a training step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.discriminator import discriminator
from avq.training.losses import accuracy, discriminator_loss, generator_loss, gradient_penalty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from avq.models.tokenizer import Tokenizer
    from avq.training.config import TrainConfig

_LARGEST_ADAPTIVE = 1e4  # as in the authors' code of arXiv 2012.09841
_LEAST_GRADIENT = 1e-4


class Adversary:
    """Judges reconstructions for the model's loss, and learns to tell them from images.

    Real and reconstructed images always pass the discriminator in one batch: its batch normalisation reaches the
    logits, so a batch of one kind could not be told from the other by its mean (`PatchDiscriminator`).

    Args:
        config: losses and weights.
        model: what it judges.
        autocast: gives the context in which the discriminator computes.

    Raises:
        UsageError: `adaptive_weight` for a model without a decoder of convolutions.
    """

    def __init__(
        self, config: TrainConfig, model: Tokenizer, autocast: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.config, self.autocast = config, autocast
        self._last = model.find_last_weight() if config.adaptive_weight else None
        if config.adaptive_weight and self._last is None:
            raise UsageError("adaptive_weight needs a model with a `decoder` of convolutions; leave it out.")

    def discriminator(self) -> nn.Module:
        """The network that judges, untrained."""
        return discriminator(self.config.discriminator, self.config.spectral_norm)

    def plays(self, step: int) -> bool:
        """Whether the discriminator has begun at that step (from 0)."""
        return step >= self.config.disc_start

    def ratio(self, main: Tensor, adversarial: Tensor) -> Tensor:
        """Ratio of the losses' gradient norms at the decoder's last layer (arXiv 2012.09841, eq. 7), a constant."""
        assert self._last is not None
        losses = (main, adversarial)
        norms = [torch.autograd.grad(loss, self._last, retain_graph=True)[0].float().norm() for loss in losses]
        ratio: Tensor = norms[0] / (norms[1] + _LEAST_GRADIENT)
        return ratio.clamp(max=_LARGEST_ADAPTIVE)

    def judge(self, module: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 logits of images and reconstructions `[B, 3, H, W]`, judged in one batch."""
        with self.autocast():
            logits = module(torch.cat([real, fake])).float()
        return logits[: len(real)], logits[len(real) :]

    def against(self, module: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The model's adversarial loss on reconstructions with a graph; leaves no gradient in the discriminator."""
        with _frozen(module):
            return generator_loss(self.config.adversarial, self.judge(module, real, fake)[1])

    def learn(self, module: nn.Module, real: Tensor, fake: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """Add `share` of the gradient of one discriminator step; detached reconstructions.

        Returns:
            Detached scalars: the loss (with its penalty), both kinds' mean logits, and how many are on the right side.
        """
        kind, r1 = self.config.adversarial, self.config.r1_gamma
        real = real.detach().requires_grad_(r1 > 0)
        true, false = self.judge(module, real, fake)
        loss = discriminator_loss(kind, true, false)
        logs = {"discriminator-real": true.mean(), "discriminator-fake": false.mean(),
                "discriminator-accuracy": accuracy(kind, true, false)}  # fmt: skip
        if r1 > 0:
            logs["loss-r1"] = r1 / 2 * gradient_penalty(real, true)
            loss = loss + logs["loss-r1"]
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in {"loss-discriminator": loss, **logs}.items()}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Its parameters take no gradient meanwhile, while what it is given does."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
