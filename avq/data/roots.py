"""The folders that are searched for dataset files (torch-free)."""

from __future__ import annotations

import os
from pathlib import Path

from avq.errors import UsageError

ENVIRONMENT_VARIABLE = "AVQ_DATA_ROOT"


def cache_root() -> Path:
    """The user's own data folder: ``$XDG_CACHE_HOME/avq-bench/data``, by default below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "avq-bench" / "data"


def resolve_root(root: Path | None) -> tuple[Path, bool]:
    """The data root, and whether the user named it.

    Args:
        root: from ``--data-root``; else ``$AVQ_DATA_ROOT`` counts, else the user's cache.

    Raises:
        UsageError: the user named a folder that does not exist.
    """
    origin = "--data-root" if root is not None else f"${ENVIRONMENT_VARIABLE}"
    if root is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        return cache_root(), False
    named = Path(os.environ[ENVIRONMENT_VARIABLE] if root is None else root).expanduser()
    if not named.is_dir():
        raise UsageError(f"data root {named} (from {origin}) is not a folder")
    return named, True
