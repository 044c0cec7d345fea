"""What `torchrun` starts in test_ranks.py: `shared_training.py OUT VARIANT`, one of the processes of a training.

Every rank writes OUT/rank-N.safetensors: the codebooks after every step, and the weights at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from avq.data.config import DataConfig
from avq.data.sources import load_dataset
from avq.models import create_variant
from avq.models.quantizers import vq
from avq.models.tokenizer import Tokenizer
from avq.training import trainer
from avq.training.config import TrainConfig
from avq.training.fresh import derive_seed
from avq.training.ranks import Ranks, join_ranks

CONFIG = TrainConfig(steps=20, batch_size=8, learning_rate=1e-3, validate_every=10, precision="float32")
COLLECTIVES = ("all_reduce", "broadcast", "all_gather", "barrier")


def fresh(variant: str, seed: int = 0) -> Tokenizer:
    torch.manual_seed(derive_seed(seed, "initialisation"))
    return create_variant(variant, 16, width=8, codebook_size=16)


def trained(
    variant: str, ranks: Ranks | None = None, seed: int = 0
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Tensors by name (`<step>.<codebook>` and `end.<weight>`) and the history of one process's part."""
    data = DataConfig("synthetic-faces", 16, train_images=64, validation_images=16, test_images=24)
    model, seen = fresh(variant, seed), {}

    class Watched(trainer.TrainStep):
        def __call__(self, batch: Tensor, step: int, check: bool = False) -> Tensor:
            loss = super().__call__(batch, step, check)
            for name, tensor in model.state_dict().items():
                if name.startswith("quantizers."):
                    seen[f"{step}.{name}"] = tensor.clone()
            return loss

    vq._RESTART_BELOW = 0.5  # so that twenty steps see restarts
    trainer.TrainStep = Watched  # type: ignore[misc]
    history = trainer.train(model, load_dataset(data), CONFIG, 0, ranks=ranks)
    seen |= {f"end.{name}": tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    return seen, history.rows


def forbid_collectives_in_validation() -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a collective during evaluation")

    validate = trainer.validate

    def alone(*arguments: Any) -> dict[str, float]:
        kept = {name: getattr(dist, name) for name in COLLECTIVES}
        for name in COLLECTIVES:
            setattr(dist, name, refuse)
        try:
            return validate(*arguments)
        finally:
            for name, function in kept.items():
                setattr(dist, name, function)

    trainer.validate = alone


if __name__ == "__main__":
    out, variant = Path(sys.argv[1]), sys.argv[2]
    ranks = join_ranks("cpu")
    forbid_collectives_in_validation()
    # each rank begins with weights of its own: that they agree is the training's work
    tensors, rows = trained(variant, ranks, seed=ranks.rank)
    safetensors.torch.save_file(tensors, out / f"rank-{ranks.rank}.safetensors")
    (out / f"rank-{ranks.rank}.json").write_text(json.dumps(rows))
    dist.barrier()  # a process that leaves while another works may be aborted
    dist.destroy_process_group()
