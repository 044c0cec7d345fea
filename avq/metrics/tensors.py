"""Reading the weights of a network safely, and naming them by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from avq.errors import AvqError


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file by name, and nothing that a pickle could do besides.

    Raises:
        AvqError: the file is no such file, or holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler meets
        raise AvqError(f"{path} holds no weights that can be read safely: {str(error).splitlines()[0]}") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise AvqError(f"{path} holds something else than tensors by name")
    return dict(content)


def features_of(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The convolutional part (`features.*`) of a torchvision classifier, without the prefix."""
    part = {name.removeprefix("features."): value for name, value in tensors.items() if name.startswith("features.")}
    if not part:
        raise AvqError(f"{path} holds no tensors named features.*")
    return part


def content_id(tensors: Mapping[str, Tensor]) -> str:
    """Eight hexadecimal digits that name these values, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:8]
