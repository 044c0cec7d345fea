"""Models and tensors on disk: safetensors only, whole or not at all, never a pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from avq.aliases import current_name, current_settings
from avq.errors import UsageError
from avq.files import written_whole
from avq.models.recipe import Recipe, build
from avq.models.tokenizer import Tokenizer
from avq.registry import load
from avq.training.config import CHECKPOINT_FILE, STATE_FILE

PRETRAINED_FILE = "model.safetensors"
"""The weights in a folder of the Hugging Face convention."""

_FORMAT = "avq-bench"
_FILES = (CHECKPOINT_FILE, PRETRAINED_FILE, STATE_FILE)
_MODULE = "module.model."  # in a resume checkpoint (resume.py)


def save_model(model: Tokenizer, path: Path) -> None:
    """Write a model that has a recipe to a `.safetensors` file, which is replaced atomically."""
    assert model.recipe is not None
    write_tensors(path, dict(model.state_dict()), model.recipe._asdict())


def load_model(path: str | Path) -> Tokenizer:
    """A model ready to use (in eval mode).

    Args:
        path: a file that `save_model` wrote, a resume checkpoint (its weights so far), a run's folder, or a folder that
            `save_pretrained` wrote.

    Raises:
        UsageError: the file is missing or is none of these, or names a variant that is not registered.
    """
    file = checkpoint_file(path)
    tensors, about = read_tensors(file)
    try:
        model = build(_recipe(about))
        inside = {name.removeprefix(_MODULE): t for name, t in tensors.items() if name.startswith(_MODULE)}
        model.load_state_dict(current_names(inside or tensors, model))
        for index, parameter in enumerate(model.parameters()):
            averaged = tensors.get(f"extra.average.{index}")
            if averaged is not None:
                parameter.data.copy_(averaged)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{file} does not hold a model of this avq-bench ({reason}).") from error
    return model.eval()


def current_names(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Tensors under a module's names for them today, which the first release spelled otherwise."""
    names = module.state_dict().keys()
    return {name if name in names else current_name(name): tensor for name, tensor in tensors.items()}


def _recipe(about: dict[str, Any]) -> Recipe:
    """The recipe in a file's JSON; the first release did not write the factory, so it is taken from the zoo."""
    if "factory" in about:
        return Recipe(about["variant"], about["image_size"], about["config"], about["factory"])
    factory = load("avq.models.zoo:variant_entry", "a checkpoint")(about["variant"]).factory
    return Recipe(about["variant"], about["image_size"], current_settings(about["config"], factory), factory)


def checkpoint_file(path: str | Path) -> Path:
    """The file meant by a file, a run's folder, or a folder of `save_pretrained`; it may be missing."""
    path = Path(path)
    if not path.is_dir():
        return path
    return next((path / name for name in _FILES if (path / name).is_file()), path)


def checkpoint_info(path: str | Path) -> dict[str, Any]:
    """`variant`, `image_size` and `config` of what `load_model` loads; errors as there."""
    return read_tensors(checkpoint_file(path))[1]


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors and JSON to a safetensors file, whole or not at all."""
    data = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(about)
    metadata = {"format": _FORMAT, "about": text, "sha256": _digest(data, text)}
    with written_whole(path) as aside:
        aside.write_bytes(safetensors.torch.save(data, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON of a file that `write_tensors` wrote; UsageError for any other."""
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a safetensors checkpoint, or it is damaged ({error}).") from error
    if metadata.get("format") != _FORMAT or "about" not in metadata:
        raise UsageError(f"{path} was not written by avq-bench; it does not name its variant.")
    tensors = safetensors.torch.load_file(path)
    if metadata.get("sha256") != _digest(tensors, metadata["about"]):
        raise UsageError(f"{path} is damaged: its content is not what its checksum says.")
    return tensors, json.loads(metadata["about"])


def _digest(tensors: dict[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
