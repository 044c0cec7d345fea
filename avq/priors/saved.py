"""A trained prior on disk: one safetensors file that says what codes it is over, and of which tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from avq.errors import UsageError
from avq.priors.config import PriorConfig
from avq.priors.sequence import layout_from
from avq.priors.transformer import Prior
from avq.training.checkpoint import read_tensors, write_tensors

PRIOR_FILE = "prior.safetensors"
"""The trained prior, in its folder."""


def save_prior(prior: Prior, path: Path, **about: Any) -> None:
    """Write a prior to a file, whole or not at all, with more to say about it, such as its `tokenizer`."""
    known = {"layout": asdict(prior.layout), "config": asdict(prior.config), "classes": prior.classes}
    write_tensors(path, prior.state_dict(), {"prior": known} | about)


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
