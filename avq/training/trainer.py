"""The loop that trains every variant: resumable at any step, bit-equal when repeated on one CPU thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, Batches, images_within, to_model
from avq.data.sources import Dataset
from avq.models.tokenizer import Floor, Tokenizer
from avq.training.checkpoint import read_tensors, write_tensors
from avq.training.config import STATE_FILE, TrainConfig
from avq.training.seeds import derive_seed
from avq.training.step import TrainStep, learning_rate

_SECONDS_BETWEEN_STATES = 15.0
_SECONDS_BETWEEN_REPORTS = 0.5
_STEPS_BETWEEN_CHECKS = 50  # on a GPU, where looking at the loss waits for the device
_CODEBOOK_PIXELS = 2**20  # 1,024 images of 32x32: enough latents for a few hundred codes, whatever the size


@dataclass(frozen=True)
class Progress:
    """How far a training is. `loss` is the last one looked at; `validation_mae` in [0, 1], None before the first."""

    step: int
    steps: int
    images_per_s: float
    seconds_left: float
    loss: float
    validation_mae: float | None


@dataclass
class History:
    """The curve of a training.

    Attributes:
        rows: one a validation point: step, seconds, images, learning-rate, loss (mean since the last point),
            validation-mae in [0, 1], perplexity-<level> over the validation images.
        seconds: time spent in training steps, over all resumptions; validation is not in it.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def train(
    model: Tokenizer,
    dataset: Dataset,
    config: TrainConfig,
    seed: int,
    *,
    variant: str = "model",
    folder: Path | None = None,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
    on_point: Callable[[dict[str, float]], None] | None = None,
) -> History:
    """Train a model in place.

    Args:
        model: as `create_variant` gives it, freshly initialised; a floor model (with `fit`) is fitted instead.
        dataset: train and validation images.
        config: the budget and the optimiser.
        seed: the run's seed; data order and sampling draw from streams of their own.
        variant: the name that errors give.
        folder: where a state is kept every 15 seconds; a state that is there is gone on from.
        device: "cpu", "cuda" or such.
        on_progress: called about twice a second.
        on_point: called after every validation point with its row of the history; its time is not training time.

    Raises:
        NonFiniteLoss: the loss or a weight is no longer finite; names variant, step and tensor.
    """
    if isinstance(model, Floor):
        start = time.perf_counter()
        model.fit(dataset.train.images, derive_seed(seed, "initialisation"))
        return History(seconds=time.perf_counter() - start)
    return _Training(model, dataset, config, seed, variant, folder, device).run(on_progress, on_point)


class _Training:
    def __init__(
        self,
        model: Tokenizer,
        dataset: Dataset,
        config: TrainConfig,
        seed: int,
        variant: str,
        folder: Path | None,
        device: str,
    ) -> None:
        self.config, self.device = config, device
        self.validation = dataset.validation.images
        self.batches = Batches(dataset.train, config.batch_size, derive_seed(seed, "data"), dataset.card.flip)
        self.take_step = TrainStep(model, config, device, variant)
        self.model = model
        self.history = History()
        self.step = 0
        self.losses: list[Tensor] = []  # since the last point of the curve
        self.state = folder / STATE_FILE if folder else None
        if self.state and self.state.exists():
            self._resume(self.state)
        else:
            torch.manual_seed(derive_seed(seed, "sampling"))
            self._initialise_codebooks(dataset.train.images)

    def run(
        self,
        on_progress: Callable[[Progress], None] | None,
        on_point: Callable[[dict[str, float]], None] | None,
    ) -> History:
        model, config = self.model, self.config
        model.train()
        first, began = self.step, time.perf_counter()
        reported = saved = began
        seconds_before, idle = self.history.seconds, 0.0
        losses = self.losses
        while self.step < config.steps:
            batch = self.batches.batch(self.step)
            check = self.device == "cpu" or self.step % _STEPS_BETWEEN_CHECKS == 0 or self._is_point(self.step + 1)
            losses.append(self.take_step(batch, self.step, check))
            self.step += 1
            now = time.perf_counter()
            self.history.seconds = seconds_before + now - began - idle
            if self._is_point(self.step):
                self._validate(torch.stack(losses).mean().item())
                losses.clear()
                if on_point:
                    on_point(self.history.rows[-1])
            if self.state and now - saved > _SECONDS_BETWEEN_STATES:
                self._save(self.state)
                saved = now
            idle += time.perf_counter() - now
            if on_progress and (now - reported > _SECONDS_BETWEEN_REPORTS or self.step == config.steps):
                reported = now
                on_progress(self._progress(first, self.history.seconds - seconds_before, losses))
        return self.history

    def _is_point(self, step: int) -> bool:
        """Whether the validation curve has a point after that many steps."""
        return step % self.config.validate_every == 0 or step == self.config.steps

    def _progress(self, first: int, seconds: float, losses: list[Tensor]) -> Progress:
        rate = (self.step - first) / max(seconds, 1e-9)
        rows = self.history.rows
        return Progress(
            step=self.step,
            steps=self.config.steps,
            images_per_s=rate * self.config.batch_size,
            seconds_left=(self.config.steps - self.step) / rate,
            loss=losses[-1].item() if losses else rows[-1]["loss"],
            validation_mae=rows[-1]["validation-mae"] if rows else None,
        )

    def _initialise_codebooks(self, images: Tensor) -> None:
        count = images_within(_CODEBOOK_PIXELS, images)
        some = images[torch.randperm(len(images))[:count]]
        self.model.initialise_codebooks(to_model(some, self.device))

    def _validate(self, loss: float) -> None:
        """Add a row to the history: MAE and codebook perplexity over the validation images."""
        self.model.eval()
        total = 0.0
        counts = [torch.zeros(codes, dtype=torch.int64) for codes in self.model.num_codes]
        with torch.no_grad():
            for batch in torch.split(self.validation, images_within(EVALUATION_PIXELS, self.validation)):
                images = to_model(batch, self.device)
                result = self.take_step.reconstruct(images)
                error = (result.images.float().clamp(-1, 1) - images).abs().mean((1, 2, 3)) / 2
                total += error.double().sum().item()
                for level, codes in enumerate(result.codes):
                    counts[level] += torch.bincount(codes.flatten(), minlength=len(counts[level])).cpu()
        self.model.train()
        row = {
            "step": float(self.step),
            "seconds": self.history.seconds,
            "images": float(self.step * self.config.batch_size),
            "learning-rate": learning_rate(self.config, self.step - 1),
            "loss": loss,
            "validation-mae": total / len(self.validation),
        }
        for level, used in enumerate(counts, start=1):
            share = used[used > 0] / used.sum()
            row[f"perplexity-{level}"] = math.exp(-(share * share.log()).sum().item())
        self.history.rows.append(row)

    def _save(self, path: Path) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, values in self.take_step.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        tensors["rng"] = torch.get_rng_state()
        if self.device != "cpu":
            tensors["rng-device"] = torch.cuda.get_rng_state(self.device)
        about = {"step": self.step, "rows": self.history.rows, "seconds": self.history.seconds}
        write_tensors(path, tensors, about)

    def _resume(self, path: Path) -> None:
        tensors, about = read_tensors(path)
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        self.model.load_state_dict(model)
        parameters = list(self.model.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                like = parameters[int(index)]
                # moments take the parameter's layout: fused AdamW walks both alike
                same = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and key != "step" else tensor
                state.setdefault(int(index), {})[key] = same
        groups = self.take_step.optimiser.state_dict()["param_groups"]
        self.take_step.optimiser.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["rng"])
        if "rng-device" in tensors:
            torch.cuda.set_rng_state(tensors["rng-device"], self.device)
        self.losses = list(tensors.get("losses", torch.empty(0)).to(self.device))
        self.step, self.history = about["step"], History(about["rows"], about["seconds"])
