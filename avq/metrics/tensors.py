"""Reading the weights of a network safely, and their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from avq.errors import AvqError


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file by name; nothing else is unpickled.

    Raises:
        AvqError: the file cannot be read safely, or holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler meets
        raise AvqError(f"{path} holds no weights that can be read safely: {str(error).splitlines()[0]}") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise AvqError(f"{path} does not hold tensors by name")
    return dict(content)


def features_of(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The convolutional part (`features.*`) of a torchvision classifier, without the prefix."""
    part = {name.removeprefix("features."): value for name, value in tensors.items() if name.startswith("features.")}
    if not part:
        raise AvqError(f"{path} holds no tensors named features.*")
    return part


def content_id(tensors: Mapping[str, Tensor]) -> str:
    """A fingerprint of these values, eight hexadecimal digits: the same from every file that holds them."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:8]
