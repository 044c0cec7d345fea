"""Weights and training states on disk: safetensors only, whole or not at all, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.tokenizer import Tokenizer
from avq.models.zoo import build_from_config

_FORMAT = "avq-bench"


def save_model(model: nn.Module, path: Path, *, variant: str, image_size: int, config: dict[str, Any]) -> None:
    """Write a model's weights and buffers with all that is needed to build it again.

    Args:
        model: as `create_variant` gives it.
        path: a `.safetensors` file; replaced atomically.
        variant: its name in the zoo.
        image_size: side of the images in pixels that it was built for.
        config: its settings as `variant_config` resolves them.
    """
    about = {"variant": variant, "image_size": image_size, "config": config}
    write_tensors(path, dict(model.state_dict()), about)


def load_model(path: str | Path) -> Tokenizer:
    """A model ready to use (in eval mode), from a file that `save_model` wrote.

    Raises:
        UsageError: the file is missing or is not such a checkpoint, or names a variant that is not registered.
    """
    tensors, about = read_tensors(Path(path))
    try:
        model = build_from_config(about["variant"], about["image_size"], about["config"])
        model.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path} does not hold a model of this avq-bench ({reason}).") from error
    return model.eval()


def checkpoint_info(path: str | Path) -> dict[str, Any]:
    """`variant`, `image_size` and `config` of a model file. Errors as `load_model`."""
    return read_tensors(Path(path))[1]


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """A safetensors file with JSON beside the tensors; written aside, flushed, and moved into place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    data = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        words = json.dumps(about)
        metadata = {"format": _FORMAT, "about": words, "sha256": _digest(data, words)}
        aside.write_bytes(safetensors.torch.save(data, metadata))
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON of a file that `write_tensors` wrote. UsageError where it is not one."""
    metadata = _metadata(path)
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


def _metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a safetensors checkpoint, or it is damaged ({error}).") from error
    if metadata.get("format") != _FORMAT or "about" not in metadata:
        raise UsageError(f"{path} was not written by avq-bench; it cannot say which variant it holds.")
    return metadata
