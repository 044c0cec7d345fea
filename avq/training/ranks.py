"""The processes that share one training, and the device of each.

A process that trains alone needs none of it. Several are joined by Hugging Face Accelerate, which finds its place,
device and backend from what `torchrun`, `accelerate launch` or MPI set, and wraps modules so that their gradients
are means over all (DistributedDataParallel). It is of the extra `ranks`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import nn

from avq.errors import UsageError
from avq.models import collective


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that share a training.

    Attributes:
        device: its device.
        rank: its number, from 0; the first writes files and reports.
        count: how many there are.
        share: wraps a module so that its gradients are means over all ranks.
    """

    device: str
    rank: int = 0
    count: int = 1
    share: Callable[[nn.Module], nn.Module] = lambda module: module

    @property
    def first(self) -> bool:
        return self.rank == 0


def join_ranks(device: str = "auto") -> Ranks:
    """Join the processes that a launcher started; alone without one.

    Args:
        device: "auto", "cpu" or "cuda"; each rank gets a device of its own of that kind.

    Raises:
        UsageError: the device is not there, or Accelerate is not installed.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise UsageError("ranks are joined by Accelerate: pip install 'avq-bench[ranks]'") from None

    from avq.training.precision import resolve_device

    # Buffers are made equal by what fills them (collective.py): broadcasting would hide where they are not.
    wrapping = DistributedDataParallelKwargs(broadcast_buffers=False)
    cpu = resolve_device(device) == "cpu"
    accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[wrapping])

    def share(module: nn.Module) -> nn.Module:
        with warnings.catch_warnings():  # torch 2.14 has a new word for it, which torch 2.11 and Accelerate do not know
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            return cast(nn.Module, accelerator.prepare_model(module))

    return Ranks(str(accelerator.device), accelerator.process_index, accelerator.num_processes, share)


def share_of(batch_size: int, count: int) -> None:
    """UsageError where a batch cannot be shared equally."""
    if batch_size % count:
        near = max(count, round(batch_size / count) * count)
        raise UsageError(f"batch_size={batch_size} cannot be shared equally by {count} processes; {near} can.")


def start_alike(modules: dict[str, nn.Module], step: int) -> None:
    """Give every rank the first one's weights and buffers.

    Raises:
        UsageError: ranks are to go on from different steps.
    """
    import torch

    if collective.ranks() == 1:
        return
    tensors = [tensor for module in modules.values() for tensor in module.state_dict().values()]
    place = tensors[0].device
    first = int(collective.from_first(torch.tensor(step, device=place)).item())
    differ = collective.all_sum(torch.tensor(int(first != step), device=place))[0].item()
    if differ:
        raise UsageError(f"ranks go on from different steps (the first from {first}): they need one shared folder.")
    for tensor in tensors:
        collective.from_first(tensor)


def level_norms(modules: dict[str, nn.Module]) -> None:
    """Replace the running statistics of batch normalisation, which each rank takes from its share, by their mean."""
    if collective.ranks() == 1:
        return
    for module in modules.values():
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
                assert norm.running_var is not None
                for statistic in collective.all_sum(norm.running_mean, norm.running_var):
                    statistic.div_(collective.ranks())
