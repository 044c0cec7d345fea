"""The loop that trains a prior on cached codes: resumable at any step, bit-equal when repeated on one CPU thread."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.data.loader import Batches
from avq.data.sources import ImageSet
from avq.errors import Stopped
from avq.priors.codes import Codes
from avq.priors.likelihood import code_lengths
from avq.priors.transformer import Prior
from avq.training.allocator import keep_freed_memory
from avq.training.config import STATE_FILE
from avq.training.diagnose import NonFiniteLoss, first_non_finite
from avq.training.fresh import derive_seed
from avq.training.precision import autocast, resolve_precision
from avq.training.resume import load_resume_checkpoint, save_resume_checkpoint
from avq.training.step import learning_rate
from avq.training.trainer import History, OnPoint, OnProgress, Progress

_SECONDS_BETWEEN_STATES = 15.0
_SECONDS_BETWEEN_REPORTS = 0.5


def train_prior(
    prior: Prior,
    train: Codes,
    validation: Codes,
    seed: int,
    *,
    name: str = "prior",
    folder: Path | None = None,
    device: str = "cpu",
    stop_at: float | None = None,
    on_progress: OnProgress | None = None,
    on_point: OnPoint | None = None,
) -> History:
    """Train a prior in place; it ends with the weights of the best validation step, in eval mode.

    Args:
        prior: as `fresh_prior` returns it.
        train: sequences `[N, T]`, mirrored images among them where the dataset allows it.
        validation: sequences that decide which weights are kept.
        seed: of the order of the data.
        name: the name in error messages.
        folder: where a resume checkpoint is saved every 15 seconds; one that is there is resumed.
        device: such as "cpu" or "cuda".
        stop_at: when to stop, in seconds since the epoch.
        on_progress: called about twice a second; the loss is in bits a token.
        on_point: called with each new row of the curve.

    Returns:
        the convergence curve, a row per validation step: step, seconds, images, learning-rate, loss and
        validation-bits-per-token, both in bits.

    Raises:
        NonFiniteLoss: the loss is no longer finite; names step and tensor.
        Stopped: the time is over; the resume checkpoint is in the folder.
    """
    training = _Training(prior.to(device), train, validation, seed, name, folder, device)
    if training.file and training.file.exists():
        training.resume(training.file)
    training.run(stop_at, on_progress, on_point)
    return training.history


class _Training:
    def __init__(
        self, prior: Prior, train: Codes, validation: Codes, seed: int, name: str, folder: Path | None, device: str
    ) -> None:
        if device == "cpu":
            keep_freed_memory()
        self.prior, self.train, self.validation, self.name, self.device = prior, train, validation, name, device
        self.config = config = prior.config.budget()
        # On a CPU no gain was measured at widths of about 100
        self.precision = "float32" if device == "cpu" else resolve_precision(config.precision, device)
        self.modules: dict[str, nn.Module] = {"model": prior}
        adamw = torch.optim.AdamW(
            prior.parameters(), config.learning_rate, (config.beta1, 0.99), weight_decay=config.weight_decay, fused=True
        )
        self.optimisers: dict[str, torch.optim.Optimizer] = {"model": adamw}
        rows = torch.empty(len(train.sequences), 0)  # only counted
        self.order = Batches(ImageSet(rows, None, ""), config.batch_size, derive_seed(seed, "data"), False)
        self.history, self.step = History(), 0
        self.losses: list[Tensor] = []  # since the last validation step
        self.best: list[Tensor] = []  # the weights of the best one
        self.file = folder / STATE_FILE if folder else None
        self.of = {"settings": asdict(prior.config), "seed": seed, "sequences": list(train.sequences.shape)}

    def run(self, stop_at: float | None, on_progress: OnProgress | None, on_point: OnPoint | None) -> None:
        steps, first = self.config.steps, self.step
        began = saved = reported = time.perf_counter()
        before, idle = self.history.seconds, 0.0
        while self.step < steps:
            if stop_at is not None and time.time() >= stop_at:
                self.save()
                raise Stopped(f"{self.name}: stopped after step {self.step} of {steps}")
            self.losses.append(self.take_step())
            self.step += 1
            now = time.perf_counter()
            self.history.seconds = before + now - began - idle
            if self.step % self.config.validate_every == 0 or self.step == steps:
                self.validate()
                if on_point:
                    on_point(self.history.rows[-1])
            if now - saved > _SECONDS_BETWEEN_STATES:
                self.save()
                saved = now
            idle += time.perf_counter() - now
            if on_progress and (now - reported > _SECONDS_BETWEEN_REPORTS or self.step in (first + 1, steps)):
                reported = now
                on_progress(self.progress((self.step - first) / max(self.history.seconds - before, 1e-9)))
        for parameter, best in zip(self.prior.parameters(), self.best, strict=True):
            parameter.data.copy_(best)
        self.prior.eval()

    def take_step(self) -> Tensor:
        """One step; its loss before it, in bits a token."""
        sequences, labels = self.train.batch(self.order.indices(self.step), self.device)
        self.prior.train()
        with autocast(self.precision, self.device):
            logits = self.prior(sequences, labels)
        loss = F.cross_entropy(logits.flatten(0, 1), sequences.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.prior.parameters(), self.config.grad_clip)
        if self.device == "cpu" and not math.isfinite(loss.item() + norm.item()):
            raise self.non_finite(loss, sequences)
        for group in self.optimisers["model"].param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.optimisers["model"].step()
        self.optimisers["model"].zero_grad()
        return loss.detach() / math.log(2)

    def validate(self) -> None:
        """Add a row to the curve; keep the weights where they are the best so far."""
        loss = torch.stack(self.losses).mean()
        self.losses.clear()
        if not loss.isfinite():
            raise self.non_finite(loss, self.train.batch(slice(1), self.device)[0])
        bits = code_lengths(self.prior, self.validation, self.device).mean()
        if all(bits < row["validation-bits-per-token"] for row in self.history.rows):
            self.best = [parameter.detach().clone() for parameter in self.prior.parameters()]
        self.history.rows.append(
            {
                "step": float(self.step),
                "seconds": self.history.seconds,
                "images": float(self.step * self.config.batch_size),
                "learning-rate": learning_rate(self.config, self.step - 1),
                "loss": loss.item(),
                "validation-bits-per-token": float(bits),
            }
        )

    def non_finite(self, loss: Tensor, sequences: Tensor) -> NonFiniteLoss:
        first = first_non_finite(self.prior, [sequences]) or "the loss itself"
        return NonFiniteLoss(
            f"{self.name}: the prior's loss is {loss.item()} at step {self.step + 1} of {self.config.steps}; first "
            f"tensor that is not finite: {first}."
        )

    def progress(self, rate: float) -> Progress:
        loss = self.losses[-1].item() if self.losses else self.history.rows[-1]["loss"]
        left = (self.config.steps - self.step) / rate
        return Progress(self.step, self.config.steps, rate * self.config.batch_size, left, loss, None)

    def save(self) -> None:
        if self.file is None:
            return
        about = {"of": self.of, "step": self.step, "rows": self.history.rows, "seconds": self.history.seconds}
        extra = {"losses": self.losses, "best": self.best}
        save_resume_checkpoint(self.file, self.modules, self.optimisers, extra, self.device, about)

    def resume(self, file: Path) -> None:
        extra, about = load_resume_checkpoint(file, self.modules, self.optimisers, self.device, self.of)
        self.losses, self.best = extra.get("losses", []), extra.get("best", [])
        self.step, self.history = about["step"], History(about["rows"], about["seconds"])
