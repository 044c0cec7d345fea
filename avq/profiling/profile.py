"""Where the time of a training step goes, against what the machine can do."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from avq.profiling.counting import copy_rate, product_rate
from avq.profiling.memory import seconds_of
from avq.profiling.profile_meter import BETWEEN, CAST, CONVOLUTION, ELEMENTWISE, OPTIMISER, Meter, Peaks, Spent
from avq.training.step import TrainStep

_WARM_UP, _TRACED = 3, 2
_COPIED = 256  # MiB, far beyond any cache
_SIDE = 2048  # of the matrices whose product is timed
OVERHEAD = "between operations"

Spending = dict[tuple[str, str], Spent]


@dataclass(frozen=True)
class Profile:
    """A training step by part.

    Attributes:
        step: median seconds of a step without instrumentation.
        parts: part -> what a step spends in it; the last is the time between operations (Python, autograd).
        outside: seconds of a step outside convolutions with their activations and residual sums, attention, quantizer
            and optimiser.
        casts: seconds that encoder and decoder need to cast weights and activations to bfloat16, and gradients back:
            they are part of bfloat16 convolutions, and not in `outside`.
        precision: of the convolutions.
    """

    step: float
    parts: dict[str, Spent]
    outside: float
    casts: float
    peaks: Peaks
    precision: str

    def share(self, part: str) -> float:
        """Of the step's time."""
        return self.parts[part].seconds / self._total

    @property
    def outside_share(self) -> float:
        return self.outside / self._total

    @property
    def casts_share(self) -> float:
        return self.casts / self._total

    @property
    def _total(self) -> float:
        return sum(spent.seconds for spent in self.parts.values())

    def of_peak(self, part: str) -> float | None:
        """The time needed at the machine's peaks over the time taken; above 1 if the cache holds the data."""
        spent = self.parts[part]
        return spent.least / spent.seconds if spent.least and spent.seconds else None


def profile_step(
    step: TrainStep, batch_of: Callable[[int], Tensor], steps: int = 10, trace: Path | None = None
) -> Profile:
    """Take training steps, without and with instrumentation in turns.

    Args:
        step: the model in training mode with its optimiser; it is trained on.
        batch_of: number of a step -> images uint8 `[B, H, W, 3]`.
        steps: how many of each.
        trace: where to write a trace of two more steps, for chrome://tracing or Perfetto.
    """
    numbers = itertools.count()

    def take() -> None:
        number = next(numbers)
        step(batch_of(number), 0, check=step.device == "cpu").item()

    for _ in range(_WARM_UP):
        take()
    peaks = measure_peaks(step.device)
    meter = Meter(step, peaks)
    alone, watched = [], []
    for _ in range(steps):  # in turns, so that other work of the machine hits both alike
        alone.append(seconds_of(take))
        meter.spent = {}
        with meter.watching():
            take()
        watched.append(meter.spent)
    if trace is not None:
        _write_trace(take, trace)
    return _summed(watched, statistics.median(alone), peaks, step.precision)


def _summed(watched: Sequence[Spending], unwatched: float, peaks: Peaks, precision: str) -> Profile:
    parts: dict[str, Spent] = {}
    outside = casts = 0.0
    for (part, kind), first in watched[0].items():
        seconds = statistics.median(step[part, kind].seconds for step in watched)
        parts.setdefault(part, Spent()).add(replace(first, seconds=seconds))
        if not _is_essential(part, kind):
            outside += seconds
        elif kind == CAST and _convolves(part):
            casts += seconds
    overhead = max(0.0, unwatched - sum(spent.seconds for spent in parts.values()))
    ordered = dict(sorted(parts.items(), key=lambda item: -item[1].seconds))
    return Profile(unwatched, ordered | {OVERHEAD: Spent(overhead)}, outside + overhead, casts, peaks, precision)


def _is_essential(part: str, kind: str) -> bool:
    inside = _convolves(part) and kind in (CONVOLUTION, ELEMENTWISE, CAST)
    return inside or part == OPTIMISER or part.startswith(("attention", "quantizer"))


def _convolves(part: str) -> bool:
    return part == BETWEEN or part.startswith(("encoder", "decoder"))


def _write_trace(take: Callable[[], None], path: Path) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
        for _ in range(_TRACED):
            take()
    profiler.export_chrome_trace(str(path))


def measure_peaks(device: str) -> Peaks:
    """Of products of 2048x2048 matrices in each precision and of copies of 256 MiB."""
    single, half = (product_rate(device, _SIDE, dtype) for dtype in (torch.float32, torch.bfloat16))
    return Peaks(single, half, copy_rate(device, _COPIED))
