"""Features of reference images, computed once and stored in the user's cache by the images' fingerprint.

Processes that need the same features at once wait for the first one's.
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


def feature_file(reference_id: str, images: int, conditions: Mapping[str, object]) -> Path:
    """Where the features of a reference set are stored: below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    how = "-".join(str(value) for value in conditions.values())
    return cache / "avq-bench" / "features" / f"{how}-{reference_id}-{images}.npy"


def load_features(path: Path, images: int) -> Features | None:
    """Stored features `[images, D]`; None where they are missing or damaged."""
    try:
        features: Features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    right = features.ndim == 2 and len(features) == images and features.dtype == np.float32
    return features if right and bool(np.isfinite(features).all()) else None


def save_features(path: Path, features: Features) -> None:
    """Store features, whole or not at all. A cache that cannot be written costs time, not the result."""
    with suppress(OSError), written_whole(path, durable=False) as aside:
        np.save(aside, features)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let other processes that need these features wait; a killed one leaves no lock behind.

    Where nothing can be locked, as in a cache that cannot be written, nobody waits.
    """
    with ExitStack() as stack:
        with suppress(DiskError):
            stack.enter_context(held(path.with_name(f".{path.name}.lock"), wait=True))
        yield
