"""What a call needs, counted without running it: bytes of live tensors, floating-point operations, traffic.

The call runs on tensors without contents (torch's fake tensors): a small machine can count a matrix of 16 GiB.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avq.profiling.flops import operator_flops
from avq.profiling.memory import MIB, seconds_of

_RATE_SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices whose product is timed
_RATE_MIB = {"cpu": 64, "cuda": 1024}  # of the block that is copied
_RATE_REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """How fast a device multiplies matrices (float32) and copies memory: FLOP/s and bytes/s, the best of repeats."""

    flops: float
    traffic: float


@dataclass
class Counts:
    """What a call needs.

    Attributes:
        peak: bytes of the tensors that it creates, at their maximum; earlier tensors are not counted.
        operations: FLOPs (matrix products and convolutions) and bytes read and written, of every operator in turn.
    """

    peak: int = 0
    operations: list[tuple[int, int]] = field(default_factory=list)

    @property
    def flops(self) -> int:
        """All floating-point operations of matrix products and convolutions."""
        return sum(flops for flops, _ in self.operations)

    @property
    def traffic(self) -> int:
        """All bytes that operators read and write."""
        return sum(traffic for _, traffic in self.operations)

    def seconds(self, rates: Rates) -> float:
        """By the roofline: every operator takes the time of its FLOPs or of its bytes, whichever is longer.

        Exponentials, the start of kernels and the effects of caches are not in it.
        """
        return sum(max(flops / rates.flops, traffic / rates.traffic) for flops, traffic in self.operations)


def count(call: Callable[[], Any], settle: bool = False) -> Counts:
    """The counts of `call()`; in a `FakeTensorMode` it computes nothing.

    Args:
        call: what to count.
        settle: call it once before: what that creates and leaves, such as an optimiser's state, counts towards the
            peak, but its operations do not count.
    """
    counting = _Counting()
    with counting:
        if settle:
            call()
            counting.counts.operations.clear()
        call()
    return counting.counts


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator, those of the backward pass too, and follows the storages that they create."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counts()
        self._live: dict[int, int] = {}
        self._total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten.bincount.default:  # its size depends on the contents, without `minlength`
            out = args[0].new_empty(kwargs.get("minlength", args[2] if len(args) > 2 else 0))
        else:
            out = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        there = {_address(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for tensor in made:
            if _address(tensor) not in there:
                self._follow(tensor.untyped_storage())
        if not getattr(func, "is_view", False):
            flops = operator_flops(func, args, kwargs, out)
            self.counts.operations.append((flops, sum(map(_bytes, [*tensors_read(args, kwargs, made), *made]))))
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._live:
            return
        self._live[key] = storage.nbytes()
        self._total += storage.nbytes()
        weakref.finalize(storage, self._forget, key)
        self.counts.peak = max(self.counts.peak, self._total)

    def _forget(self, key: int) -> None:
        self._total -= self._live.pop(key)


def tensors_read(args: Any, kwargs: Any, made: Sequence[Tensor]) -> list[Tensor]:
    """The tensors among an operator's arguments, without those that only receive a result, as by `out=`."""
    receiving = {id(tensor) for tensor in made}
    given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
    return given + [leaf for leaf in tree_leaves(kwargs) if isinstance(leaf, Tensor) and id(leaf) not in receiving]


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensor: Tensor) -> int:
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def measure_rates(device: str = "cpu") -> Rates:
    """Time a product of float32 matrices and a copy, with torch's present number of threads."""
    kind = torch.device(device).type
    return Rates(product_rate(device, _RATE_SIDE[kind]), copy_rate(device, _RATE_MIB[kind]))


def product_rate(device: str, side: int, dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of a product of square matrices of that side, the best of repeats."""
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    return 2 * side**3 / _best(lambda: matrix @ matrix)


def copy_rate(device: str, mebibytes: int) -> float:
    """Bytes/s, read and written, of the copy of a block, the best of repeats."""
    block = torch.ones(mebibytes * MIB // 4, device=device)
    target = torch.empty_like(block)
    return 2 * block.nbytes / _best(lambda: target.copy_(block))


def _best(call: Callable[[], Any]) -> float:
    call()
    return min(seconds_of(call) for _ in range(_RATE_REPEATS))
