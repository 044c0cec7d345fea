"""The processes (ranks) that share one training, and the device of each.

Several are joined by Hugging Face Accelerate, from the extra `ranks`: it reads rank, device and backend from what
`torchrun`, `accelerate launch` or MPI set, and wraps modules in DistributedDataParallel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from avq.errors import UsageError
from avq.models import collective


@dataclass(frozen=True)
class Ranks:
    """This process's device and number (from 0; the first writes files and reports) among `count` ranks.

    `share` wraps a module so that its gradients are means over all ranks.
    """

    device: str
    rank: int = 0
    count: int = 1
    share: Callable[[nn.Module], nn.Module] = lambda module: module

    @property
    def first(self) -> bool:
        return self.rank == 0


def join_ranks(device: str = "auto") -> Ranks:
    """Join the processes that a launcher started, or train alone without one.

    Each rank gets its own device: "auto", "cpu" or "cuda". UsageError where that is not available, or Accelerate is not
    installed.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise UsageError("ranks are joined by Accelerate: pip install 'avq-bench[ranks]'") from None

    from avq.training.precision import resolve_device

    # The code that fills buffers keeps them equal (collective.py): broadcasting would hide where it does not
    wrapping = DistributedDataParallelKwargs(broadcast_buffers=False)
    cpu = resolve_device(device) == "cpu"
    accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[wrapping])

    def share(module: nn.Module) -> nn.Module:
        with warnings.catch_warnings():  # torch 2.14 renames it; torch 2.11 and Accelerate do not know the new name
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            return cast(nn.Module, accelerator.prepare_model(module))

    return Ranks(str(accelerator.device), accelerator.process_index, accelerator.num_processes, share)


def share_of(batch_size: int, count: int) -> None:
    """UsageError where a batch cannot be shared equally."""
    if batch_size % count:
        near = max(count, round(batch_size / count) * count)
        raise UsageError(f"batch_size={batch_size} cannot be shared equally by {count} processes; {near} can.")


def start_alike(modules: dict[str, nn.Module], step: int) -> None:
    """Copy the first rank's weights and buffers to all; UsageError where ranks resume from different steps."""
    if collective.ranks() == 1:
        return
    tensors = [tensor for module in modules.values() for tensor in module.state_dict().values()]
    device = tensors[0].device
    first = int(collective.from_first(torch.tensor(step, device=device)).item())
    if collective.all_sum(torch.tensor(int(first != step), device=device))[0].item():
        raise UsageError(f"ranks resume from different steps (the first from {first}): they need one shared folder.")
    for tensor in tensors:
        collective.from_first(tensor)


def average_norms(modules: dict[str, nn.Module]) -> None:
    """Replace the running statistics of batch normalisation, which differ between ranks, by their mean."""
    if collective.ranks() == 1:
        return
    for module in modules.values():
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
                assert norm.running_var is not None
                for statistic in collective.all_sum(norm.running_mean, norm.running_var):
                    statistic.div_(collective.ranks())
