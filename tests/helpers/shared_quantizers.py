"""What `torchrun` starts in test_quantizer_ranks.py: `shared_quantizers.py OUT`, a process with its part of a batch.

Every rank writes OUT/rank-N.safetensors: each quantizer's state after one step, and the gradients of its parameters.
"""

from __future__ import annotations

import sys
from pathlib import Path

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from avq.models.collective import all_sum, rank, ranks
from avq.models.config import AutoencoderConfig
from avq.models.quantizers.registry import QUANTIZERS
from avq.registry import load


def stepped() -> dict[str, Tensor]:
    """`<quantizer>.<tensor>`, the gradients as `<quantizer>.grad.<tensor>`, with this process's part of a batch."""
    config = AutoencoderConfig(code_dim=8, codebook_size=16)
    found = {}
    for name, entry in QUANTIZERS.items():
        torch.manual_seed(0)
        quantizer = load(entry.factory, name)(config, **entry.settings).train()
        whole = torch.randn(8, 8, 4, 4)
        quantizer.initialise(whole)
        result = quantizer(whole.chunk(ranks())[rank()].requires_grad_())
        (result.latents.square().mean() + result.loss).backward()
        found |= {f"{name}.{key}": value.detach() for key, value in quantizer.state_dict().items()}
        for key, parameter in quantizer.named_parameters():
            found[f"{name}.grad.{key}"] = all_sum(parameter.grad)[0] / ranks()
    return found


if __name__ == "__main__":
    dist.init_process_group("gloo")
    safetensors.torch.save_file(stepped(), Path(sys.argv[1]) / f"rank-{rank()}.safetensors")
    dist.destroy_process_group()
