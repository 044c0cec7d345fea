"""What a run of a model will need, from a few real steps; and what the loading of its images needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avq.data.config import DataConfig
from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.data.sources import load_dataset
from avq.models.tokenizer import Tokenizer
from avq.profiling.memory import MIB, peak_memory
from avq.training.allocator import give_freed_memory_back
from avq.training.config import TrainConfig
from avq.training.step import TrainStep
from avq.training.trainer import CODEBOOK_PIXELS

_LEAST_STEPS, _LEAST_SECONDS = 4, 1.0


def measure_run(build: Callable[[], Tokenizer], image_size: int, config: TrainConfig, device: str) -> dict[str, float]:
    """Time a few steps of training and of evaluation on random images. Call it in a process of its own.

    Args:
        build: returns the model, untrained, on the CPU.
        image_size: side of the images in pixels.
        config: how it will be trained.
        device: where.

    Returns:
        Seconds of `setup`, of a `step` and of an evaluated `image`; MiB of `memory` at the peak, of the model's
        `weights`, and of the `state` in training: all modules and their optimisers' moments.
    """
    one = torch.empty(1, image_size, image_size, 3)
    initial, evaluated = images_within(CODEBOOK_PIXELS, one), images_within(EVALUATION_PIXELS, one)
    images = torch.randint(256, (max(initial, evaluated), image_size, image_size, 3), dtype=torch.uint8)
    begun = time.perf_counter()
    model = build().to(device)
    step_seconds, modules = 0.0, [model]
    if model.is_baseline:
        model.fit(images, 0)
        setup = time.perf_counter() - begun
    else:
        step = TrainStep(model, config, device)
        modules = list(step.modules.values())  # type: ignore[arg-type]
        model.initialise_codebooks(to_model(images[:initial], device))
        setup = time.perf_counter() - begun
        batch = images[torch.arange(config.batch_size) % len(images)]
        step_seconds = _seconds_of(lambda: step(batch, config.steps - 1).item())
    give_freed_memory_back()  # as before a run's evaluation
    model.to(device).eval()
    some = images[:evaluated]
    with torch.no_grad():
        image = _seconds_of(lambda: model(to_model(some, device)).images.sum().item()) / len(some)
    state = 3 * sum(map(_mebibytes, modules))
    memory, weights = peak_memory("cpu"), _mebibytes(model)
    return {"setup": setup, "step": step_seconds, "image": image, "memory": memory, "weights": weights, "state": state}


def measure_loading(data: DataConfig, root: Path | None) -> dict[str, float]:
    """Seconds to load images, MiB of `memory` at the peak, and those `held` from then on. Call it in a new process."""
    begun = time.perf_counter()
    dataset = load_dataset(data, root)
    seconds = time.perf_counter() - begun
    held = sum(split.images.nbytes for split in (dataset.train, dataset.validation, dataset.test)) / MIB
    return {"seconds": seconds, "memory": peak_memory("cpu"), "held": held}


def _mebibytes(module: nn.Module) -> float:
    tensors: list[Tensor] = list(module.state_dict().values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MIB


def _seconds_of(call: Callable[[], Any]) -> float:
    call()
    call()
    begun, count = time.perf_counter(), 0
    while count < _LEAST_STEPS or time.perf_counter() - begun < _LEAST_SECONDS:
        call()
        count += 1
    return (time.perf_counter() - begun) / count
