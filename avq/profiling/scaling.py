"""How attention, and whole variants, grow with the side of the latent: one point, counted and then measured.

A point is measured in a process of its own that has the machine to itself. It is counted first, on tensors without
contents: one that would not fit is never tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from avq.errors import reason_of
from avq.evaluation.attention import relative_gain
from avq.models.attention import ResidualPixelAttention, resolve_implementation
from avq.profiling.counting import Rates, count, measure_rates
from avq.profiling.memory import MIB, free_memory, measure_passes, status_field
from avq.registry import load

Pass = Literal["forward", "training-step"]
PASSES: tuple[Pass, ...] = ("forward", "training-step")
LAYER = "attention"
VARIANTS = "avq.profiling.scaling_variants"  # imported for points of whole variants only
STRIDE = 4  # of a variant's bottom level, whose latent gives the point its size
# Large enough that pieces of a layer do not grow at larger latents, except for bands of a softmax with narrow keys
# beyond a side of 64: 5 % of that layer's memory.
_COUNTED_SIDES = (32, 40, 48)
# A latent at which libraries load their code and allocate permanent buffers: products of the layer's pieces are as
# large as at any larger latent. The memory of its tensors is released before held memory is measured.
_WARM_SIDE = 32
_SHARE = 0.9  # of the free memory: the rest is for other processes
_UNCOUNTED = (1.1, 64.0)  # a factor on what is counted, and MiB on top, that libraries use themselves
_SEED = 0


@dataclass(frozen=True)
class Point:
    """One measurement: a layer or a variant, at one size, in one pass, under stated conditions.

    Attributes:
        subject: `attention` for the layer alone (literal form), else the variant.
        latent_size: side of the latent in pixels; a variant's images are `STRIDE` times as wide.
        similarity: how logits become weights; empty for a variant without attention.
        implementation: `auto`, `dense` or `linear`; empty for a variant without attention.
        model: a variant's settings, resolved.
        channels: of the layer's latent; 0 for a variant, as is `filters`: its settings say them.
        threads: of the CPU.
        device: `cpu`, `cuda` or `cuda:N`.
    """

    subject: str
    latent_size: int
    similarity: str
    implementation: str
    part: Pass
    batch_size: int
    channels: int
    filters: int
    repeats: int
    threads: int
    device: str
    precision: Literal["float32"] = "float32"
    model: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.label)

    @property
    def label(self) -> str:
        """Its row in a table: `attention[128,softmax,linear,training-step]`."""
        values = (str(self.latent_size), self.similarity, self.implementation, self.part)
        return f"{self.subject}[{','.join(value for value in values if value)}]"


@dataclass(frozen=True)
class Prediction:
    """What a point will need: MiB beyond what is held before it, seconds, FLOPs and bytes; or why that is unknown."""

    memory: float = 0.0
    seconds: float = 0.0
    flops: int = 0
    traffic: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was measured: MiB and seconds of each repeat, and the layer's gain; or why nothing was.

    Attributes:
        failed: the reason is another one than too little memory.
    """

    memory: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    gain: float | None = None
    reason: str = ""
    failed: bool = False


def predict_points(points: Sequence[Point], rates: Rates | None) -> tuple[list[Prediction], Rates]:
    """Count every point; without `rates`, measure them first. All points share device and threads."""
    torch.set_num_threads(points[0].threads)
    rates = rates or measure_rates(points[0].device)
    return [_predicted(point, rates) for point in points], rates


def _predicted(point: Point, rates: Rates) -> Prediction:
    """Counted; a layer that is linear in its pixels has too many pieces, and is extrapolated from small latents."""
    try:
        if picked(point) != "linear":
            with FakeTensorMode():
                return _counted(point, rates, without_contents=True)
        if point.latent_size <= max(_COUNTED_SIDES):
            return _counted(point, rates)
        small = [replace(point, latent_size=side, implementation="linear") for side in _COUNTED_SIDES]
        return _extrapolated(point, [_counted(one, rates) for one in small])
    except Exception as error:  # an operator that cannot be followed: the point is then tried under the memory limit
        return Prediction(reason=f"cannot be counted: {type(error).__name__}: {reason_of(error)[:200]}")


def _counted(point: Point, rates: Rates, without_contents: bool = False) -> Prediction:
    counts = count(make_call(point, without_contents=without_contents).call, settle=point.subject != LAYER)
    return Prediction(counts.peak / MIB, counts.seconds(rates), counts.flops, counts.traffic)


def _extrapolated(point: Point, small: Sequence[Prediction]) -> Prediction:
    """Memory by the straight line in the pixels through the first and the last, the others by the parabola."""
    pixels = [float(side**2) for side in _COUNTED_SIDES]

    def at(values: Sequence[float], chosen: Sequence[float]) -> float:
        return float(np.polyval(np.polyfit(chosen, values, len(chosen) - 1), point.latent_size**2))

    return Prediction(
        memory=at([small[0].memory, small[-1].memory], [pixels[0], pixels[-1]]),
        seconds=at([one.seconds for one in small], pixels),
        flops=round(at([one.flops for one in small], pixels)),
        traffic=round(at([one.traffic for one in small], pixels)),
    )


def measure_point(point: Point, prediction: Prediction) -> Outcome:
    """Measure one point, if what was counted fits into the free memory. Call it in a fresh process.

    The process may use no more memory than was free when it began: if the prediction is wrong, only this process fails.
    """
    free = free_memory(point.device)
    factor, more = _UNCOUNTED
    needed = factor * prediction.memory + more
    if needed > _SHARE * free:
        return Outcome(reason=f"does not fit: it needs about {_size(needed)}, and {_size(free)} are free")
    torch.set_num_threads(point.threads)
    if torch.device(point.device).type == "cpu":
        _be_killed_first()
        limit_memory(_SHARE * free)
    try:
        make_call(point, min(point.latent_size, _WARM_SIDE)).call()
        made = make_call(point)
        taken = measure_passes(made.call, point.device, point.repeats)
        return Outcome(taken.memory, taken.seconds, made.gain())
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Outcome(reason=_out_of_memory(error))
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        return Outcome(reason=_out_of_memory(error))


def _out_of_memory(error: BaseException) -> str:
    return f"does not fit: out of memory ({reason_of(error)[:160]})"


def _size(mebibytes: float) -> str:
    return f"{mebibytes / 1024:.3g} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def _be_killed_first() -> None:
    """If the system runs out of memory after all, it ends this process and no other."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def limit_memory(mebibytes: float) -> None:
    """Let this process use that much more memory (Linux); a larger allocation raises an error."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int((status_field("VmData") + mebibytes) * MIB), hard))


class Made(NamedTuple):
    """A point's call, and the gain of its layer (None for a training step, and for a variant)."""

    call: Callable[[], None]
    gain: Callable[[], float | None]


def make_call(point: Point, side: int | None = None, without_contents: bool = False) -> Made:
    """The call that is measured at a point, with its weights and inputs.

    Args:
        point: the point.
        side: of the latent, in place of the point's own.
        without_contents: the call will only be counted.
    """
    torch.manual_seed(_SEED)
    side = side or point.latent_size
    with torch.device(point.device):
        if point.subject == LAYER:
            return _layer(point, side)
        made: Made = load(f"{VARIANTS}:variant_call", f"point {point.label}")(point, side, without_contents)
        return made


def _layer(point: Point, side: int) -> Made:
    training = point.part == "training-step"
    layer = ResidualPixelAttention(point.channels, point.filters, "literal", point.similarity, point.implementation)
    x = torch.randn(point.batch_size, point.channels, side, side, requires_grad=training)
    upstream = torch.randn_like(x) if training else None

    def call() -> None:
        if upstream is None:
            with torch.no_grad():
                layer(x)
            return
        layer(x).backward(upstream)
        x.grad = None
        layer.zero_grad()

    def gain() -> float | None:
        if training:
            return None
        with torch.no_grad():
            return float(relative_gain(layer, x).mean())

    return Made(call, gain)


def picked(point: Point) -> str:
    """The implementation at a point, with `auto` resolved; empty without attention."""
    if not point.implementation:
        return ""
    return resolve_implementation(point.implementation, point.latent_size**2, point.device)
