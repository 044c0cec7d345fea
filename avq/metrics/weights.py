"""The networks that metrics take features from: which files hold their weights, and where they are (torch-free).

A file is used only if its sha256 is right, and read as tensors only, never unpickled freely.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from avq.errors import AvqError, UsageError, unknown
from avq.metrics.registry import METRICS
from avq.resources import resource_dir

ENVIRONMENT_VARIABLE = "AVQ_WEIGHTS_DIR"
_TORCHVISION = "BSD-3-Clause (torchvision); trained on ImageNet"


@dataclass(frozen=True)
class WeightsFile:
    """One file: its name, sha256, size in bytes, licence and source (a URL, or in words)."""

    file: str
    sha256: str
    size: int
    licence: str
    url: str = ""
    origin: str = ""

    @property
    def source(self) -> str:
        return self.url or self.origin


@dataclass(frozen=True)
class Weights:
    """A network's weights, which any one of `files` holds."""

    name: str
    files: tuple[WeightsFile, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are n/a without them."""
        return tuple(metric.name for metric in METRICS.values() if metric.weights == self.name)


def _from_torchvision(file: str, sha256: str, size: int) -> WeightsFile:
    return WeightsFile(file, sha256, size, _TORCHVISION, f"https://download.pytorch.org/models/{file}")


_FILES = {
    "squeezenet1_1": (
        _from_torchvision("squeezenet1_1-b8a52dc0.pth",
                          "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b", 4_958_839),
        WeightsFile("squeezenet1_1_features.pth", "65848f4c678bba05bcc2fc7c35df775d303ffcbc3e24e770a727cb4296e10e84",
                    2_906_645, _TORCHVISION, origin="the features.* tensors of squeezenet1_1-b8a52dc0.pth"),
    ),
    "alexnet": (
        _from_torchvision("alexnet-owt-7be5be79.pth",
                          "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02", 244_408_911),
    ),
    "vgg16": (
        _from_torchvision("vgg16-397923af.pth",
                          "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 553_433_881),
    ),
    "inception-v3-compat": (
        WeightsFile("weights-inception-2015-12-05-6726825d.pth",
                    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2", 95_628_359,
                    "Apache-2.0 (TensorFlow models, converted by torch-fidelity); trained on ImageNet",
                    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
                    "weights-inception-2015-12-05-6726825d.pth"),
    ),
}  # fmt: skip

REGISTRY: dict[str, Weights] = {name: Weights(name, files) for name, files in _FILES.items()}


class MissingWeightsError(AvqError):
    """The weights are missing or damaged; says what to do."""


@dataclass(frozen=True)
class Found:
    """A file with a registered name, and whether its content is the registered one."""

    path: Path
    known: WeightsFile
    state: Literal["ok", "damaged"]


def get_weights(name: str) -> Weights:
    """The entry called `name`; UsageError, with the nearest name suggested, if it does not exist."""
    if name not in REGISTRY:
        raise unknown("weights", name, REGISTRY)
    return REGISTRY[name]


def named_folder() -> Path | None:
    """The folder that `--weights-dir` or `$AVQ_WEIGHTS_DIR` names; UsageError if it does not exist."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"weights folder {folder} (from --weights-dir or ${ENVIRONMENT_VARIABLE}) is not a folder")
    return folder


def folders() -> list[Path]:
    """Where weights are searched, in order: the named folder, torch hub's cache, and what comes with this package."""
    cached = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    hub = Path(os.environ.get("TORCH_HOME") or cached).expanduser() / "hub" / "checkpoints"
    named = named_folder()
    return [*filter(None, [named]), hub, resource_dir("weights")]


def look(name: str) -> Iterator[Found]:
    """Every file of these weights that exists, in the order of the folders, verified."""
    for folder in folders():
        for known in get_weights(name).files:
            path = folder / known.file
            if path.is_file():
                yield Found(path, known, "ok" if is_right(path, known) else "damaged")


def find_weights(name: str) -> Path:
    """The first file that holds these weights and has the right sha256.

    Raises:
        MissingWeightsError: they are missing or damaged; names the command that fetches them.
    """
    damaged = None
    for found in look(name):
        if found.state == "ok":
            return found.path
        damaged = damaged or found.path
    state = f"{damaged} is not what its name says (its sha256 differs)" if damaged else None
    fix = f"`avq-bench weights fetch {name}`, or `avq-bench weights add FILE` with a copy"
    raise MissingWeightsError(f"{state or f'the weights of {name} are missing'}: {fix}")


def available() -> tuple[str, ...]:
    """Names of the weights that are here, in the registry's order."""
    return tuple(name for name in REGISTRY if any(found.state == "ok" for found in look(name)))


def missing_weights() -> str:
    """Which metrics are not measured for want of weights, and what to do; empty where all are here."""
    here = available()
    missing = [weights for name, weights in REGISTRY.items() if name not in here]
    if not missing:
        return ""
    metrics = ", ".join(name for weights in missing for name in weights.metrics)
    names = " ".join(weights.name for weights in missing)
    return f"not measured, as their networks' weights are not here: {metrics} (`avq-bench weights fetch {names}`)"


def is_right(path: Path, known: WeightsFile) -> bool:
    """Whether a file has the size and sha256 that the registry states."""
    status = path.stat()
    return status.st_size == known.size and _sha256(path, status.st_mtime_ns, status.st_size) == known.sha256


@cache
def _sha256(path: Path, _changed: int, _size: int) -> str:
    """Cached by time and size: half a gigabyte should not be read anew for every metric."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AvqError(f"cannot read {path}: {error.strerror or error}") from None
