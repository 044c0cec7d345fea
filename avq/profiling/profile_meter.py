"""Which part of a training step every operation belongs to, and its seconds, FLOPs and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avq.models.convolution import SumToBias
from avq.profiling.counting import tensors_read
from avq.profiling.flops import operator_flops
from avq.training.step import TrainStep

DATA, LOSS, CLIPPING, OPTIMISER, BETWEEN = "data", "loss", "gradient clipping", "optimiser", "joining of levels"
CONVOLUTION, ELEMENTWISE, CAST, REST = "convolutions", "activations and sums", "casts", "copies and the rest"

_CONVOLUTIONS = {"convolution", "convolution_backward"}
_ELEMENTWISE = {
    "relu", "relu_", "threshold_backward", "add", "add_", "leaky_relu", "leaky_relu_backward", "native_batch_norm",
    "native_batch_norm_backward", "_native_batch_norm_legit", "_batch_norm_with_update", "batch_norm_backward",
}  # fmt: skip
_CHOOSING = {"index_select", "embedding", "gather", "index"}  # they read only what they choose


@dataclass(frozen=True)
class Peaks:
    """The machine's measured peaks: FLOP/s of matrix products, bytes/s of a copy (read and written)."""

    float32: float
    bfloat16: float
    bytes: float

    def seconds(self, flops: float, size: float, dtype: torch.dtype) -> float:
        """The least time that an operation takes."""
        return max(flops / (self.bfloat16 if dtype == torch.bfloat16 else self.float32), size / self.bytes)


@dataclass
class Spent:
    """What operations took, summed; `least` is the time at the machine's peaks."""

    seconds: float = 0.0
    least: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0

    def add(self, other: Spent) -> None:
        self.seconds += other.seconds
        self.least += other.least
        self.flops += other.flops
        self.bytes += other.bytes


def kind_of(operation: str) -> str:
    """What sort of operation it is, by its ATen name."""
    if operation in _CONVOLUTIONS:
        return CONVOLUTION
    if operation in _ELEMENTWISE:
        return ELEMENTWISE
    return CAST if operation == "_to_copy" else REST


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation of training steps; `spent[part, kind]` sums what those of one step took.

    In the forward pass hooks on modules set the part. Autograd numbers its nodes in order, so the numbers at which a
    module began and ended show which part a node of the backward pass belongs to.
    """

    def __init__(self, step: TrainStep, peaks: Peaks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._peaks = peaks
        self.spent: dict[tuple[str, str], Spent] = {}
        self._step = step
        self._open: list[tuple[str, int]] = []
        self._ranges: list[tuple[int, int, str]] = []
        self._phase = self._backward_part = DATA
        self._wait: Callable[[], object] = torch.cuda.synchronize if step.device.startswith("cuda") else lambda: None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block: hooks on all trained modules and their optimisers."""
        step, handles = self._step, []
        opponents = {module: name for name, module in step.modules.items() if module is not step.model}
        for module, part in {step.model: BETWEEN, **step.model.find_parts(), **opponents}.items():
            handles.append(module.register_forward_pre_hook(lambda _module, _args, part=part: self._enter(part)))
            handles.append(module.register_forward_hook(lambda _module, _args, _out: self._leave()))
        for optimiser in step.optimisers.values():
            handles.append(optimiser.register_step_pre_hook(lambda *_: self._go_to(OPTIMISER)))
            handles.append(optimiser.register_step_post_hook(lambda *_: self._go_to(DATA)))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, part: str) -> None:
        if part == BETWEEN and not self._open:  # the model's next forward pass
            self._ranges.clear()
        self._open.append((part, _next_node()))

    def _leave(self) -> None:
        part, first = self._open.pop()
        self._ranges.append((first, _next_node(), part))
        if not self._open:
            self._go_to(LOSS)

    def _go_to(self, phase: str) -> None:
        self._phase = phase

    def _part(self, operation: str) -> str:
        if self._open:
            return self._open[-1][0]
        node: Any = torch._C._current_autograd_node()  # None outside the backward pass
        if node is not None:
            self._phase = CLIPPING  # what comes after the backward pass and before the optimiser
            number = node._sequence_nr()
            inside = [(last - first, part) for first, last, part in self._ranges if first <= number < last]
            self._backward_part = min(inside)[1] if inside else LOSS
            return self._backward_part
        if self._phase == CLIPPING and operation in ("add", "add_"):  # gradients of two paths that meet
            return self._backward_part
        return self._phase

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = func._overloadpacket._qualified_op_name.removeprefix("aten::")
        part = self._part(operation)
        self._wait()
        begun = time.perf_counter()
        result = func(*args, **kwargs)
        self._wait()
        seconds = time.perf_counter() - begun
        flops = operator_flops(func, args, kwargs, result)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        tensors = [*tensors_read(args, kwargs, made), *made]
        size = sum(tensor.nbytes for tensor in tensors)
        if func.is_view:
            size = 0
        elif operation in _CHOOSING:
            size = 2 * result.nbytes
        least = self._peaks.seconds(flops, size, tensors[0].dtype) if tensors else 0.0
        kind = CONVOLUTION if operation == "sum" and _in_bias_gradient() else kind_of(operation)
        if kind == CAST and tensors[0].dtype == tensors[-1].dtype:
            kind = REST
        self.spent.setdefault((part, kind), Spent()).add(Spent(seconds, least, flops, size))
        return result


def _in_bias_gradient() -> bool:
    """Whether a transposed convolution's gradient for its bias is being summed."""
    node: Any = torch._C._current_autograd_node()
    return node is not None and type(node).__name__.startswith(SumToBias.__name__)


def _next_node() -> int:
    return int(torch._C._autograd._get_sequence_nr())
