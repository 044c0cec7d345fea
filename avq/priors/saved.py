"""A trained prior on disk: one safetensors file that says what codes it is over, and of which tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from avq.data.hashing import sha256_of_file
from avq.errors import UsageError
from avq.models.tokenizer import Tokenizer
from avq.priors.codes import tokenizer_layout
from avq.priors.config import PriorConfig
from avq.priors.sequence import layout_from
from avq.priors.transformer import Prior
from avq.training.checkpoint import load_model, read_tensors, write_tensors

PRIOR_FILE = "prior.safetensors"
"""The trained prior, in its folder."""


def save_prior(prior: Prior, path: Path, **about: Any) -> None:
    """Write a prior to a file, whole or not at all, with what `load_tokenizer` needs."""
    known = {"layout": asdict(prior.layout), "config": asdict(prior.config), "classes": prior.classes}
    write_tensors(path, prior.state_dict(), {"prior": known} | about)


def load_tokenizer(about: dict[str, Any], prior: Prior, file: Path, path: Path | None = None) -> Tokenizer:
    """The tokenizer that a prior's codes are of.

    Args:
        about: what the prior's file says, with `tokenizer` (its path, beside the prior's file or whole), its `checksum`
            (sha256 of the file) and the `image_size` in pixels.
        prior: the prior.
        file: the prior's own file, or its folder.
        path: where the tokenizer lies now; default: where the prior's file says.

    Raises:
        UsageError: it is missing or damaged, has other codes, or was trained again since.
    """
    folder = file if file.is_dir() else file.parent
    path = path or folder / about["tokenizer"]
    if not path.is_file():
        raise UsageError(f"the prior's tokenizer {path} is missing; name it with --tokenizer.")
    tokenizer = load_model(path)
    found = tokenizer_layout(tokenizer, about["image_size"])
    if found != prior.layout:
        raise UsageError(f"{path} is not this prior's tokenizer: its codes are {found}, the prior's {prior.layout}.")
    if sha256_of_file(path) != about["checksum"]:
        raise UsageError(f"{path} is not the tokenizer that this prior was trained on: train the prior again.")
    return tokenizer


def load_prior(path: Path) -> tuple[Prior, dict[str, Any]]:
    """The prior of a file, or of a folder with `prior.safetensors`, in eval mode, and what else the file says.

    UsageError where it is missing, damaged, or something else.
    """
    file = path / PRIOR_FILE if path.is_dir() else path
    tensors, about = read_tensors(file)
    try:
        known = about.pop("prior")
        prior = Prior(layout_from(known["layout"]), PriorConfig(**known["config"]), known["classes"])
        prior.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{file} does not hold a prior of this avq-bench ({reason}).") from error
    return prior.eval(), about
