"""Fingerprints of content: 16 hexadecimal digits of sha256 (torch-free)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avq.errors import UsageError

DIGITS = 16


def fingerprint_of_values(values: Any) -> str:
    """The fingerprint of a JSON-able value."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:DIGITS]


def fingerprint_of_images(images: NDArray[np.uint8]) -> str:
    """The fingerprint of exactly these images in this order."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:DIGITS]


def sha256_of_file(path: Path) -> str:
    """All 64 digits for one file. UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
