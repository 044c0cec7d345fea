"""The loop that trains every variant: resumable at any step, bit-equal when repeated on one CPU thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from avq.data.loader import Batches, images_within, to_model
from avq.data.sources import Dataset
from avq.errors import Stopped
from avq.models import collective
from avq.models.tokenizer import Tokenizer
from avq.training.averaging import WeightAverage
from avq.training.compiling import compiled, compiles, explaining_failure
from avq.training.config import STATE_FILE, TrainConfig, effective
from avq.training.fresh import derive_seed
from avq.training.ranks import Ranks, average_norms, share_of, start_alike
from avq.training.resume import load_resume_checkpoint, save_resume_checkpoint
from avq.training.saved_models import SavedModels
from avq.training.step import TrainStep, learning_rate
from avq.training.validation import validate

_SECONDS_BETWEEN_STATES = 15.0
_SECONDS_BETWEEN_REPORTS = 0.5
_STEPS_BETWEEN_CHECKS = 50  # on a GPU, where a check of the loss waits for the device
CODEBOOK_PIXELS = 2**20  # 1,024 images of 32x32: enough latents for a few hundred codes, at any size


@dataclass(frozen=True)
class Progress:
    """How far a training is. `loss` is the latest; `validation_mae` in [0, 1] is None before the first validation."""

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
        rows: one per validation step: step, seconds, images, learning-rate, loss (mean since the last validation step),
            validation-mae in [0, 1], perplexity-<level> over the validation images, and `TrainStep.logs` of that step.
        seconds: time in training steps, over all resumptions, without validation and torch.compile.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


OnProgress = Callable[[Progress], None]
OnPoint = Callable[[dict[str, float]], None]


def train(
    model: Tokenizer,
    dataset: Dataset,
    config: TrainConfig,
    seed: int,
    *,
    variant: str = "model",
    folder: Path | None = None,
    device: str = "cpu",
    ranks: Ranks | None = None,
    stop_at: float | None = None,
    on_progress: OnProgress | None = None,
    on_point: OnPoint | None = None,
) -> History:
    """Train a model in place.

    Args:
        model: as `create_variant` returns it; a baseline is fitted instead.
        dataset: train and validation images.
        config: the budget and the optimiser; the batch is that of all ranks together.
        seed: the run's seed; data order and sampling draw from separate streams.
        variant: the name in error messages.
        folder: where a resume checkpoint is saved every 15 seconds, and the best model; a checkpoint there is resumed.
        device: such as "cpu" or "cuda".
        ranks: the processes that share this training (`join_ranks`); default: this one alone. All call this function
            with the same arguments; only the first writes files and reports.
        stop_at: when to stop, in seconds since the epoch.
        on_progress: called about twice a second.
        on_point: called with each new row of the history; the model is then in eval mode and has the weights that were
            evaluated.

    Raises:
        NonFiniteLoss: the loss or a weight is no longer finite; names variant, step and tensor.
        Stopped: the time is over; the resume checkpoint is in the folder.
        UsageError: the resume checkpoint in the folder is of other settings, images or another seed.
    """
    if model.is_baseline:
        start = time.perf_counter()
        model.fit(dataset.train.images, derive_seed(seed, "initialisation"))
        return History(seconds=time.perf_counter() - start)
    training = _Training(model, dataset, config, seed, variant, folder, ranks or Ranks(device))
    training.stop_at = stop_at
    if training.ranks.first:
        training.on_progress, training.on_point = on_progress, on_point
    return training.run()


class _Training:
    stop_at: float | None = None
    on_progress: OnProgress | None = None
    on_point: OnPoint | None = None

    def __init__(
        self,
        model: Tokenizer,
        dataset: Dataset,
        config: TrainConfig,
        seed: int,
        variant: str,
        folder: Path | None,
        ranks: Ranks,
    ) -> None:
        share_of(config.batch_size, ranks.count)
        self.config, self.ranks, self.device, self.variant = config, ranks, ranks.device, variant
        self.validation = dataset.validation.images
        self.batches = Batches(
            dataset.train, config.batch_size, derive_seed(seed, "data"), dataset.card.flip,
            rank=ranks.rank, ranks=ranks.count, device=self.device,
        )  # fmt: skip
        torch.manual_seed(derive_seed(seed, "sampling"))
        self.take_step = TrainStep(model, config, self.device, variant)
        self.model = model
        self.modules = dict(self.take_step.modules)  # the step calls them wrapped
        self.average = WeightAverage(model, config.weight_ema) if config.weight_ema else None
        self.history, self.step = History(), 0
        self.losses: list[Tensor] = []  # since the last validation step
        self.resume_file = folder / STATE_FILE if folder else None
        seen = {"training images": dataset.train.fingerprint, "validation images": dataset.validation.fingerprint}
        self.of = {"seed": seed, **seen, **effective(config)}
        self.saved = SavedModels(folder if ranks.first else None, config.keep_history)
        if self.resume_file and self.resume_file.exists():
            self._resume(self.resume_file)
        else:
            torch.manual_seed(derive_seed(seed, "sampling"))
            images = dataset.train.images
            some = images[torch.randperm(len(images))[: images_within(CODEBOOK_PIXELS, images)]]
            model.initialise_codebooks(to_model(some, self.device))
            self.saved.forget()
        self.compiles = compiles(config.compile, self.device)
        start_alike(self.modules, self.step)
        for name, module in self.modules.items():
            shared = ranks.share(module)
            self.take_step.modules[name] = compiled(shared) if self.compiles and name == "model" else shared

    def run(self) -> History:
        config = self.config
        self.model.train()
        first, began = self.step, time.perf_counter()
        reported = saved = began
        seconds_before, idle = self.history.seconds, 0.0
        losses = self.losses
        while self.step < config.steps:
            self._stop_if_due()
            compiling = self.compiles and self.step == first
            batch = self.batches.batch(self.step)
            check = self.device == "cpu" or self.step % _STEPS_BETWEEN_CHECKS == 0 or self._validates(self.step + 1)
            with explaining_failure(self.variant) if compiling else nullcontext():
                losses.append(self.take_step(batch, self.step, check))
            if self.average:
                self.average.update(self.step)
            self.step += 1
            now = time.perf_counter()
            if compiling:  # a step that waits for the compiler is not timed
                first, idle = self.step, now - began
            self.history.seconds = seconds_before + now - began - idle
            if self._validates(self.step):
                self._validate(self._mean_over_ranks(torch.stack(losses).mean()))
                losses.clear()
            if self.resume_file and now - saved > _SECONDS_BETWEEN_STATES:
                self._save(self.resume_file)
                saved = now
            idle += time.perf_counter() - now
            if (
                self.on_progress
                and self.step > first
                and (now - reported > _SECONDS_BETWEEN_REPORTS or self.step in (first + 1, config.steps))
            ):
                reported = now
                self.on_progress(self._progress(first, self.history.seconds - seconds_before, losses))
        if self.average:
            self.average.put_in_place()
        return self.history

    def _stop_if_due(self) -> None:
        """Stop all ranks at the same step, by the first one's clock."""
        if self.stop_at is None:
            return
        over = torch.tensor(time.time() >= self.stop_at, device=self.device)
        if collective.from_first(over).item():
            if self.resume_file:
                self._save(self.resume_file)
            saved = "" if self.resume_file else "; nothing is saved without a folder"
            raise Stopped(f"{self.variant}: stopped after step {self.step} of {self.config.steps}{saved}")

    def _validates(self, step: int) -> bool:
        """Whether there is a validation step after that many steps."""
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

    def _validate(self, loss: float) -> None:
        """One validation step: evaluate the model, add a row to the history, save models."""
        row = {
            "step": float(self.step),
            "seconds": self.history.seconds,
            "images": float(self.step * self.config.batch_size),
            "learning-rate": learning_rate(self.config, self.step - 1),
            "loss": loss,
        }
        average_norms(self.modules)
        self.model.eval()
        with self.average.in_place() if self.average else nullcontext():
            row |= validate(self.model, self.validation, self.device, self.take_step.precision)
            row |= {name: self._mean_over_ranks(value) for name, value in self.take_step.logs().items()}
            self.history.rows.append(row)
            self.saved.save(self.model, self.step, row["validation-mae"])
            if self.on_point:
                self.on_point(row)
        self.model.train()

    def _mean_over_ranks(self, value: Tensor) -> float:
        return collective.all_sum(value.clone())[0].item() / self.ranks.count

    def _save(self, path: Path) -> None:
        if not self.ranks.first:
            return
        extra = {"losses": self.losses, "average": self.average.tensors if self.average else []}
        about = {"of": self.of, "step": self.step, "rows": self.history.rows, "seconds": self.history.seconds}
        about |= {"best": self.saved.best} if self.history.rows else {}
        about |= self.model.recipe._asdict() if self.model.recipe else {}
        save_resume_checkpoint(path, self.modules, self.take_step.optimisers, extra, self.device, about)

    def _resume(self, path: Path) -> None:
        extra, about = load_resume_checkpoint(path, self.modules, self.take_step.optimisers, self.device, self.of)
        if self.average:
            self.average.load(extra["average"])
        self.losses = extra.get("losses", [])
        self.step, self.history = about["step"], History(about["rows"], about["seconds"])
        self.saved.best = about.get("best", self.saved.best)
