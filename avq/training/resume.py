"""Resume checkpoints: all that a training needs to continue as if it had never stopped.

The learning rate and the order of the data are functions of the step, so they need no state of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from avq.aliases import current_name
from avq.errors import UsageError
from avq.training.checkpoint import current_names, read_tensors, write_tensors


def save_resume_checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    optimisers: dict[str, Optimizer],
    extra: dict[str, list[Tensor]],
    device: str,
    about: dict[str, Any],
) -> None:
    """Write modules, optimisers, extra tensors, the random generators and JSON to one file, whole or not at all.

    `about["of"]` says of what training, for `load_resume_checkpoint` to compare.
    """
    tensors = {f"module.{name}.{key}": t for name, module in modules.items() for key, t in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{name}.{index}.{key}": value for key, value in values.items()}
    for name, listed in extra.items():
        tensors |= {f"extra.{name}.{index}": tensor for index, tensor in enumerate(listed)}
    tensors["rng"] = torch.get_rng_state()
    if _on_gpu(device):
        tensors["rng-device"] = torch.cuda.get_rng_state(device)
    write_tensors(path, tensors, about)


def load_resume_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimisers: dict[str, Optimizer], device: str, of: dict[str, Any]
) -> tuple[dict[str, list[Tensor]], dict[str, Any]]:
    """Restore what `save_resume_checkpoint` wrote, on any device; returns the extra tensors and the JSON.

    UsageError for a file that is damaged or belongs to other modules or to a training with another `of`.
    """
    tensors, about = read_tensors(path)
    other = [f"{name} {theirs} there, {of.get(name)} here" for name, theirs in about.get("of", of).items()
             if theirs != of.get(name)]  # fmt: skip
    if other:
        raise UsageError(
            f"{path} is not the resume checkpoint of this training ({', '.join(other)}); remove it to begin anew."
        )
    try:
        for name, module in modules.items():
            module.load_state_dict(current_names(_under(tensors, f"module.{name}."), module))
        for name, optimiser in optimisers.items():
            _load_optimiser(optimiser, _under(tensors, f"optimiser.{name}."))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path} is not the resume checkpoint of this training ({reason}).") from error
    about["rows"] = [{current_name(key): value for key, value in row.items()} for row in about.get("rows", [])]
    torch.set_rng_state(tensors["rng"])
    if "rng-device" in tensors and _on_gpu(device):
        torch.cuda.set_rng_state(tensors["rng-device"], device)
    extra: dict[str, list[Tensor]] = {}
    found = {tuple(name.rsplit(".", 1)): tensor for name, tensor in _under(tensors, "extra.").items()}
    for name, index in sorted(found, key=lambda key: int(key[1])):
        extra.setdefault(name, []).append(found[name, index].to(device))
    return extra, about


def _load_optimiser(optimiser: Optimizer, tensors: dict[str, Tensor]) -> None:
    groups = optimiser.state_dict()["param_groups"]
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        # Moments need the parameter's memory layout for fused AdamW
        same = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and key != "step" else tensor
        state.setdefault(int(index), {})[key] = same
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _on_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"
