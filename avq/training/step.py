"""One optimiser step, the same in training, in plans and in the isolated benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.data.loader import to_model
from avq.errors import UsageError
from avq.models.tokenizer import Reconstruction, Tokenizer
from avq.registry import load
from avq.training.allocator import keep_freed_memory
from avq.training.config import LOSSES, TrainConfig
from avq.training.diagnose import Buffers, NonFiniteLoss, first_non_finite
from avq.training.memory import Recomputed, WholeBatch
from avq.training.precision import autocast, resolve_precision

if TYPE_CHECKING:
    from avq.training.adversarial import Adversary
    from avq.training.perceptual import PerceptualLoss


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then cosine decay towards zero; a pure function of the step (0-based)."""
    warmup = min(config.warmup_steps, config.steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class TrainStep:
    """The model with its optimiser, and with its discriminator if it has one: call it with a batch for one step.

    Channels-last, with bfloat16 autocast where `config.precision` resolves to it: together they about double the speed
    of convolutions on a CPU with AVX-512 bf16.

    Attributes:
        modules: what is trained, by name: "model" and, with an adversarial loss, "discriminator". A trainer may replace
            them by wrapped ones.
        optimisers: one per module, by the same names.

    Raises:
        UsageError: the weights are float16 or bfloat16.
    """

    def __init__(self, model: Tokenizer, config: TrainConfig, device: str, variant: str = "model") -> None:
        if device == "cpu":
            keep_freed_memory()
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        narrow = {parameter.dtype for parameter in model.parameters()} & {torch.float16, torch.bfloat16}
        if narrow:
            raise UsageError(
                f"{variant}: its weights are {narrow.pop()}, in which small updates are lost; train model.float(), "
                'with precision = "bfloat16" to compute in that.'
            )
        self.config, self.device, self.variant = config, device, variant
        self.precision = resolve_precision(config.precision, device)
        self.modules: dict[str, nn.Module] = {"model": self.model}
        self._adversary: Adversary | None = None
        if config.adversarial != "none":
            made = load(LOSSES["adversarial"], "adversarial")
            self._adversary = made(config, model, lambda: autocast(self.precision, device))
            opponent = self._adversary.discriminator()
            self.modules["discriminator"] = opponent.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._bare = dict(self.modules)  # without what a trainer wraps around them
        self._buffers = {name: Buffers(module) for name, module in self.modules.items()}
        adamw = partial(torch.optim.AdamW, lr=config.learning_rate, betas=(config.beta1, 0.99), fused=True)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            name: adamw(module.parameters(), weight_decay=config.weight_decay) for name, module in self.modules.items()
        }
        self._perceptual: PerceptualLoss | None = None
        if config.perceptual != "none":
            self._perceptual = load(LOSSES["perceptual"], "perceptual")(config.perceptual).to(device)
        self._logs: dict[str, Tensor] = {}
        self._recomputed = Recomputed(model) if config.checkpoint_activations else nullcontext()

    def __call__(self, batch: Tensor, step: int, check: bool = False) -> Tensor:
        """One step on uint8 images `[B, H, W, 3]`; returns the model's loss before it, detached, on the device.

        Args:
            batch: the images.
            step: its number from 0, which sets the learning rate.
            check: check before any weight changes that losses and gradient are finite (waits for the device).

        Raises:
            NonFiniteLoss: they are not; names variant, step and the first such tensor. Running statistics are as before
                the step, but an EMA codebook has taken in its latents where they are finite.
        """
        self._logs = {}
        for buffers in self._buffers.values() if check else ():
            buffers.keep()
        slices = torch.tensor_split(batch, self.config.grad_accum_steps)
        whole = WholeBatch(self.model) if len(slices) > 1 else None
        with whole or nullcontext():
            pairs = [self._model_gradient(part, step, len(part) / len(batch)) for part in slices]
        loss, seen = self._logs["loss"], [images for images, _ in pairs]
        self._move("model", step, loss if check else None, seen)
        if whole:
            whole.learn()
        if self._adversary and self._adversary.plays(step):
            for images, fake in pairs:
                share = len(images) / len(batch)
                self._log(self._adversary.learn(self.modules["discriminator"], images, fake, share), share)
            self._move("discriminator", step, self._logs["loss-discriminator"] if check else None, seen)
        return loss

    def logs(self) -> dict[str, Tensor]:
        """Detached scalars of the last step, on the device: every loss unweighted, and the discriminator's outputs.

        `loss-mae` (or -mse), `loss-<quantizer's>`, `loss-perceptual`, `loss-adversarial`, `adaptive-weight`,
        `loss-discriminator`, `loss-r1`, `discriminator-real` and `-fake` (mean logits), `discriminator-accuracy`.
        """
        return {name: value for name, value in self._logs.items() if name != "loss"}

    def reconstruct(self, images: Tensor) -> Reconstruction:
        """The model's forward pass in this step's precision, images `[B, 3, H, W]` in [-1, 1]."""
        with autocast(self.precision, self.device), self._recomputed:
            result: Reconstruction = self.modules["model"](images.clone())  # the images are its target, too
        return result

    def _model_gradient(self, batch: Tensor, step: int, share: float) -> tuple[Tensor, Tensor]:
        """Add a slice's share of the model's gradient; its images and detached reconstructions."""
        images = to_model(batch, self.device)
        result = self.reconstruct(images)
        fake = result.images.float()
        loss = self._objective(images, fake, step, share)
        for name, term in result.losses.items():
            loss = loss + term
            self._log({f"loss-{name}": term}, share)
        self._log({"loss": loss}, share)
        (share * loss if share < 1 else loss).backward()  # type: ignore[no-untyped-call]
        return images, fake.detach()

    def _objective(self, images: Tensor, fake: Tensor, step: int, share: float) -> Tensor:
        """Reconstruction, perceptual and adversarial losses, weighted."""
        config = self.config
        distance = (F.l1_loss if config.loss == "mae" else F.mse_loss)(fake, images)
        logged = {f"loss-{config.loss}": distance}
        loss = config.reconstruction_weight * distance
        if self._perceptual is not None:
            logged["loss-perceptual"] = self._perceptual(fake, images)
            loss = loss + config.perceptual_weight * logged["loss-perceptual"]
        if self._adversary and self._adversary.plays(step):
            adversarial = self._adversary.against(self._bare["discriminator"], images, fake)
            logged["loss-adversarial"] = adversarial
            weight: float | Tensor = config.adversarial_weight
            if config.adaptive_weight:
                logged["adaptive-weight"] = self._adversary.ratio(loss, adversarial)
                weight = weight * logged["adaptive-weight"]
            loss = loss + weight * adversarial
        self._log(logged, share)
        return loss

    def _log(self, values: Mapping[str, Tensor], share: float) -> None:
        """Add a slice's share of values to the step's logs."""
        for name, value in values.items():
            value = value.detach() if share == 1 else share * value.detach()
            self._logs[name] = self._logs[name] + value if name in self._logs else value

    def _move(self, name: str, step: int, checked: Tensor | None, slices: list[Tensor]) -> None:
        """Clip the gradient and take the optimiser's step; `checked` is a loss that must be finite first."""
        parameters = list(self.modules[name].parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if checked is not None and not math.isfinite((checked + norm).item()):
            raise self._non_finite(name, step, checked, norm, slices)
        nn.utils.clip_grads_with_norm_(parameters, self.config.grad_clip, norm)
        rate, own = learning_rate(self.config, step), self.config.discriminator_learning_rate
        if name == "discriminator" and own is not None:
            rate = rate * own / self.config.learning_rate
        for group in self.optimisers[name].param_groups:
            group["lr"] = rate
        self.optimisers[name].step()
        self.optimisers[name].zero_grad()

    def _non_finite(self, name: str, step: int, loss: Tensor, norm: Tensor, slices: list[Tensor]) -> NonFiniteLoss:
        """What is to be raised; buffers are put back, and no gradient stays, so that a caller may go on without it."""
        whose = "the loss" if name == "model" else f"the {name}'s loss"
        advice = "learning_rate" if name == "model" else f"{name}_learning_rate"
        if name == "model" and self._adversary and self._adversary.plays(step):
            advice += " or adversarial_weight"
        for own in {"model": self._buffers, "discriminator": ("discriminator",)}[name]:
            self._buffers[own].put_back()
        first = first_non_finite(self._bare[name], slices)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        if first is None:
            first = "the gradient's norm" if loss.isfinite() else "the loss itself"
        return NonFiniteLoss(
            f"{self.variant}: {whose} is {loss.item()} and the gradient's norm {norm.item()} at step {step + 1} of "
            f"{self.config.steps}; first tensor that is not finite: {first}. Try a lower {advice}."
        )
