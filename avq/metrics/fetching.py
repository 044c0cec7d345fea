"""Putting weights into their folder: from the network or from a file, verified, whole or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from avq.errors import AvqError, UsageError
from avq.files import written_whole
from avq.metrics.weights import REGISTRY, Weights, WeightsFile, folders, get_weights

_CHUNK = 2**20
_TIMEOUT = 30  # seconds without a byte
OnBytes = Callable[[int], None]


def fetch(name: str, on_bytes: OnBytes = lambda _count: None) -> Path:
    """Download weights into the first of `folders`.

    Args:
        name: as in the registry.
        on_bytes: called with the number of bytes of every piece.

    Raises:
        UsageError: the registry has no such weights.
        AvqError: no network, or the download is not the registered file; nothing is left behind.
    """
    known = fetched_file(get_weights(name))
    try:
        with urllib.request.urlopen(known.url, timeout=_TIMEOUT) as stream:  # noqa: S310  # the registry's URLs
            return _take_in(stream, known, known.url, on_bytes)
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise AvqError(
            f"cannot fetch {known.url}: {reason}; fetch it on a machine with a network and add the file by "
            "`avq-bench weights add FILE`"
        ) from None


def fetched_file(weights: Weights) -> WeightsFile:
    """The file that `fetch` downloads."""
    return next(file for file in weights.files if file.url)


def add(path: Path) -> tuple[str, Path]:
    """Copy a file of weights, identified by its content, into the first of `folders`.

    Returns:
        The name in the registry, and the copy's path.

    Raises:
        UsageError: the file does not exist, or holds none of the registered weights.
    """
    files = [(weights.name, known) for weights in REGISTRY.values() for known in weights.files]
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            for name, known in files:
                if known.sha256 == digest:
                    stream.seek(0)
                    return name, _take_in(stream, known, str(path), lambda _count: None)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    for _, known in files:
        if known.file == path.name:
            raise UsageError(f"{path} is not what its name says: sha256 {digest}, not {known.sha256}")
    raise UsageError(f"{path} (sha256 {digest}) is none of the registered weights: `avq-bench list weights`")


def _take_in(stream: BinaryIO, known: WeightsFile, origin: str, on_bytes: OnBytes) -> Path:
    """Copy a stream to its place; refuse it if size or sha256 is not the registered one."""
    target = folders()[0] / known.file
    digest, size = hashlib.sha256(), 0
    try:
        with written_whole(target) as aside:
            with aside.open("wb") as file:
                while size <= known.size and (piece := stream.read(_CHUNK)):
                    file.write(piece)
                    digest.update(piece)
                    size += len(piece)
                    on_bytes(len(piece))
            if size != known.size or digest.hexdigest() != known.sha256:
                raise AvqError(
                    f"{origin} gave {size:,} bytes with sha256 {digest.hexdigest()}, "
                    f"but {known.file} has {known.size:,} with {known.sha256}: refused"
                )
    except OSError as error:
        if isinstance(error, urllib.error.URLError | TimeoutError | ConnectionError):
            raise
        raise AvqError(f"cannot write {target}: {error.strerror or error}") from None
    return target
