"""What a model costs: values, multiply-accumulates, receptive field, throughput.

Nothing here knows a model: functions take modules, callables and numbers. Throughput belongs in a quiet
pass, in a process of its own: training runs that share the machine disturb both.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from avq.errors import AvqError
from avq.metrics.measurement import Measurement, measured, protocol_id
from avq.profiling.flops import UNKNOWN_TO_TORCH
from avq.profiling.memory import seconds_of

LARGEST_INPUT = 1024  # px; a field beyond it is taken for global
NORMALISATIONS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def parameter_counts(module: nn.Module, codebook_values: int) -> list[Measurement]:
    """`params-trainable` (values with `requires_grad`), `params-codebook`, `params-buffers`.

    An EMA codebook is a buffer and a gradient codebook a parameter, so it is counted apart too: the three
    numbers overlap and are not to be added up.

    Args:
        module: the whole model.
        codebook_values: K x D summed over the levels.
    """
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    buffers = sum(b.numel() for b in module.buffers())
    counts = {"params-trainable": trainable, "params-codebook": codebook_values, "params-buffers": buffers}
    return [measured(name, value, protocol=protocol_id(name)) for name, value in counts.items()]


def macs(call: Callable[[], Any]) -> int:
    """Multiply-accumulates of `call()`: half the FLOPs that torch counts in convolutions and matrix products.

    Element-wise work is not counted. Call it with a batch of one to get the cost of an image. Attention counts as
    it is computed: the same in both implementations, but for keys that the fused kernel pads.
    """
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=UNKNOWN_TO_TORCH) as counter:
        call()
    return int(counter.get_total_flops()) // 2


def attention_matrix_bytes(pixels: int) -> int:
    """Bytes of the N x N matrix of weights of one image in float32, 4 N^2, where it is held as a whole.

    By formula and not measured: logits and gradients of the same size may lie beside it.

    Args:
        pixels: pixels N of the latent.
    """
    return 4 * pixels**2


def positive_copy(module: nn.Module) -> nn.Module:
    """A float64 copy in which no path can cancel: weights 1 / fan-in, biases 0, normalisation the identity.

    Used to read a receptive field off gradients: with trained weights a path may vanish by chance or by a
    zero initialisation, and batch statistics would join every pixel with every other.
    """
    twin = copy.deepcopy(module).double().eval()
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORMALISATIONS):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.fill_(1 / parameter[0].numel() if parameter.ndim > 1 else 0.0)
    return twin


def receptive_field(trunk: Callable[[Tensor], list[Tensor]], input_size: int, channels: int = 3) -> list[int]:
    """Side in pixels of each level's receptive field, bottom first: where the centre output has a gradient.

    The field is the architecture's and may be larger than the images: the input starts at `input_size` and is
    doubled until every field lies clear of its edge, or at 1,024 px, which then is the answer ("at least").

    Args:
        trunk: maps float64 `[1, channels, S, S]` to one `[1, C, h, w]` a level; take it from a
            `positive_copy`, such as `positive_copy(model).trunk`.
        input_size: a side that the trunk's strides divide.
        channels: channels of the input.
    """
    size = input_size
    while True:
        image = torch.ones(1, channels, size, size, dtype=torch.float64, requires_grad=True)
        fields = [_field(response, image) for response in trunk(image)]
        if 2 * size > LARGEST_INPUT or all(side < size for side in fields):
            return fields
        size *= 2


def _field(response: Tensor, image: Tensor) -> int:
    """Side of the centre pixel's field; the whole side of the image as soon as the field touches an edge."""
    height, width = response.shape[2:]
    centre = response[..., height // 2, width // 2].sum()
    (gradient,) = torch.autograd.grad(centre, image, retain_graph=True)
    size, sides = image.shape[-1], []
    for dim in (2, 3):
        hit = gradient.abs().amax(dim=(0, 1, 5 - dim)).nonzero().flatten()
        if not hit.numel():
            raise AvqError("receptive field: the trunk's centre output does not depend on its input")
        low, high = int(hit[0]), int(hit[-1])
        sides.append(high - low + 1 if low > 0 and high < size - 1 else size)
    return max(sides)


@dataclass(frozen=True)
class Throughput:
    """Images per second: median over `repeats` timings and their standard deviation."""

    median: float
    spread: float
    repeats: int

    def measurement(self, metric: str, **conditions: object) -> Measurement:
        """The record's row, with the conditions (batch, threads, precision ...) in its protocol id."""
        return measured(
            metric,
            self.median,
            stderr=self.spread / self.repeats**0.5,
            n=self.repeats,
            protocol=protocol_id(metric, **conditions, repeats=self.repeats),
        )


def images_per_second(call: Callable[[], Any], batch: int, repeats: int = 5, warmup: int = 2) -> Throughput:
    """Throughput of `call()`, which handles `batch` images, after `warmup` untimed calls.

    Raises:
        AvqError: fewer than two repeats, which have no spread.
    """
    if repeats < 2:
        raise AvqError("throughput needs at least two repeats")
    for _ in range(warmup):
        call()
    rates = [batch / seconds_of(call) for _ in range(repeats)]
    return Throughput(statistics.median(rates), statistics.stdev(rates), repeats)
