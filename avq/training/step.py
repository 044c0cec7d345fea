"""One optimiser step, the same in training, in plans and in the quiet pass that times it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.data.loader import to_model
from avq.models.tokenizer import Reconstruction, Tokenizer
from avq.training.allocator import keep_freed_memory
from avq.training.config import TrainConfig
from avq.training.diagnose import NonFiniteLoss, first_non_finite
from avq.training.precision import autocast, resolve_precision


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then cosine decay towards zero; a pure function of the step (0-based)."""
    warmup = min(config.warmup_steps, config.steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class TrainStep:
    """The model with its optimiser: call it with a batch to take one step.

    Channels-last and, where `config.precision` resolves to it, bfloat16 autocast: on a CPU with AVX-512 bf16
    the two together about double the speed of convolutions.
    """

    def __init__(self, model: Tokenizer, config: TrainConfig, device: str, variant: str = "model") -> None:
        if device == "cpu":
            keep_freed_memory()
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.device, self.variant = config, device, variant
        self.precision = resolve_precision(config.precision, device)
        self.optimiser = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            betas=(config.beta1, 0.99),
            weight_decay=config.weight_decay,
            fused=True,
        )

    def __call__(self, batch: Tensor, step: int, check: bool = False) -> Tensor:
        """One step on uint8 images `[B, H, W, 3]`; the loss before it, a detached scalar on the device.

        Args:
            batch: the images.
            step: its number from 0, which sets the learning rate.
            check: look whether loss and gradient are finite before any weight is moved (waits for the device).

        Raises:
            NonFiniteLoss: they are not; names variant, step and the first such tensor.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, step)
        images = to_model(batch, self.device)
        result = self.reconstruct(images)
        distance = F.l1_loss if self.config.loss == "mae" else F.mse_loss
        loss = distance(result.images.float(), images)
        for term in result.losses.values():
            loss = loss + term
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._gradient_norm()
        if check and not math.isfinite((loss.detach() + norm).item()):
            raise NonFiniteLoss(
                f"{self.variant}: the loss is {loss.item()} and the gradient {norm.item()} at step {step + 1} of "
                f"{self.config.steps}; first tensor that is not finite: {first_non_finite(self.model, images)}. "
                "Try a lower learning_rate."
            )
        nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.grad_clip, norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()

    def _gradient_norm(self) -> Tensor:
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return nn.utils.get_total_norm(gradients)

    def reconstruct(self, images: Tensor) -> Reconstruction:
        """The model's forward pass in this step's precision, images `[B, 3, H, W]` in [-1, 1]."""
        with autocast(self.precision, self.device):
            result: Reconstruction = self.model(images)
        return result
