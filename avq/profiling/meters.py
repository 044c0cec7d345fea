"""What a model costs: values, multiply-accumulates, receptive field, throughput.

Functions take modules, callables and numbers, not variants. Throughput belongs in an isolated benchmark, in a process
of its own: training runs that share the machine distort both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from avq.errors import AvqError
from avq.metrics.measurement import Measurement, measured, protocol_id
from avq.profiling.flops import UNKNOWN_TO_TORCH
from avq.profiling.memory import median_and_stderr, seconds_of

LARGEST_INPUT = 1024  # px; a field beyond it is taken for global
NORMALISATIONS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def parameter_counts(module: nn.Module, codebook_values: int) -> list[Measurement]:
    """`params-trainable` (values with `requires_grad`), `params-codebook`, `params-buffers`.

    An EMA codebook is a buffer and a gradient codebook a parameter, so the three numbers overlap: do not add them up.

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

    Element-wise work is not counted. A batch of one gives the cost of an image. Both implementations of attention
    count the same, except for keys that the fused kernel pads.
    """
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=UNKNOWN_TO_TORCH) as counter:
        call()
    return int(counter.get_total_flops()) // 2


def positive_copy(module: nn.Module) -> nn.Module:
    """A float64 copy in which no path can cancel: weights 1 / fan-in, biases 0, normalisation the identity.

    For receptive fields from gradients: with trained weights a path may vanish by chance or by a zero initialisation,
    and batch statistics connect every pixel with every other.
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


def receptive_field(encoder: Callable[[Tensor], list[Tensor]], input_size: int) -> list[int]:
    """Side in pixels of each level's receptive field, bottom first: where the centre output has a gradient.

    The field is the architecture's and may be larger than the images: the input starts at `input_size` and is
    doubled until it is larger than every field, or reaches 1,024 px, which is then the answer ("at least").

    Args:
        encoder: the backbone of a `positive_copy`; maps float64 `[1, 3, S, S]` to one `[1, C, h, w]` per level.
        input_size: a side that the encoder's strides divide.
    """
    size = input_size
    while True:
        image = torch.ones(1, 3, size, size, dtype=torch.float64, requires_grad=True)
        fields = [_field(response, image) for response in encoder(image)]
        if 2 * size > LARGEST_INPUT or all(side < size for side in fields):
            return fields
        size *= 2


def _field(response: Tensor, image: Tensor) -> int:
    """Side of the centre pixel's field; the side of the image if the field touches an edge."""
    height, width = response.shape[2:]
    centre = response[..., height // 2, width // 2].sum()
    (gradient,) = torch.autograd.grad(centre, image, retain_graph=True)
    size, sides = image.shape[-1], []
    for dim in (2, 3):
        hit = gradient.abs().amax(dim=(0, 1, 5 - dim)).nonzero().flatten()
        if not hit.numel():
            raise AvqError("receptive field: the encoder's centre output does not depend on its input")
        low, high = int(hit[0]), int(hit[-1])
        sides.append(high - low + 1 if low > 0 and high < size - 1 else size)
    return max(sides)


def throughput(
    metric: str, call: Callable[[], Any], repeats: int, warmup: int = 2, *, batch: int, **conditions: object
) -> Measurement:
    """Images per second of `call()`, which handles `batch` images: the median of timed calls after untimed ones.

    The conditions (threads, precision ...) go into the protocol id.
    """
    for _ in range(warmup):
        call()
    median, stderr = median_and_stderr(tuple(batch / seconds_of(call) for _ in range(repeats)))
    protocol = protocol_id(metric, batch=batch, **conditions, repeats=repeats)
    return measured(metric, median, stderr=stderr, n=repeats, protocol=protocol)
