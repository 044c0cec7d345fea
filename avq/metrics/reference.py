"""Features of reference images, computed once and kept by the images' content address in the user's cache.

Processes that want the same features at once wait for the first one's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avq.files import DiskError, held, written_whole

Features = NDArray[np.float32]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/avq-bench/features``, by default below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "avq-bench" / "features"


def _path(reference_id: str, images: int, conditions: Mapping[str, object]) -> Path:
    how = "-".join(str(value) for value in conditions.values())
    return cache_folder() / f"{how}-{reference_id}-{images}.npy"


def load_features(reference_id: str, images: int, conditions: Mapping[str, object]) -> Features | None:
    """Kept features `[images, D]`, or None where there are none that are whole."""
    try:
        features: Features = np.load(_path(reference_id, images, conditions), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    right = features.ndim == 2 and len(features) == images and features.dtype == np.float32
    return features if right and bool(np.isfinite(features).all()) else None


def keep_features(features: Features, reference_id: str, images: int, conditions: Mapping[str, object]) -> None:
    """Keep features; whole or not at all. A cache that cannot be written costs time, not the result."""
    with suppress(OSError), written_whole(_path(reference_id, images, conditions), durable=False) as aside:
        np.save(aside, features)


@contextmanager
def alone(reference_id: str, images: int, conditions: Mapping[str, object]) -> Iterator[None]:
    """Hold these features against other processes, which wait; a killed one leaves no lock behind.

    Where nothing can be locked, such as in a cache that cannot be written, nobody waits.
    """
    path = _path(reference_id, images, conditions)
    with ExitStack() as stack:
        with suppress(DiskError):
            stack.enter_context(held(path.with_name(f".{path.name}.lock"), wait=True))
        yield
