"""torch.compile, where it pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from avq.errors import AvqError

_PAYS: frozenset[str] = frozenset()  # kinds of device with a measured gain (docs/training.md)


def compiles(setting: str, device: str) -> bool:
    """Whether "auto", "on" or "off" compiles on a device such as "cpu" or "cuda:0"."""
    return setting == "on" or (setting == "auto" and device.partition(":")[0] in _PAYS)


def compiled(module: nn.Module) -> nn.Module:
    """The module with its forward pass compiled at its first calls; all weights are shared."""
    import torch

    return torch.compile(module)  # type: ignore[return-value]


@contextmanager
def explaining_failure(variant: str) -> Iterator[None]:
    """AvqError where torch cannot compile."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = next(line for line in str(error).splitlines() if line.strip())
        raise AvqError(f"torch.compile fails on {variant} here ({reason.strip()}); try --compile off.") from error
