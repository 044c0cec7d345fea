"""CIFAR-10, with every file checked before it is unpickled."""

from __future__ import annotations

import pickle
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avq.data.cards import Card
from avq.data.hashing import sha256_of_file
from avq.data.randomness import Stream, order
from avq.errors import AvqError, UsageError
from avq.files import DiskError, held

_SPLIT_SEED = 10
_PIECE = 256


def is_there(card: Card, root: Path) -> bool:
    """Whether every file of the card exists, whatever its content."""
    return all((root / card.folder / name).is_file() for name in card.checksums)


def verify(card: Card, root: Path) -> None:
    """Check size and sha256 of every file.

    Raises:
        UsageError: a file is missing, truncated or not the official one; the line names it.
    """
    folder = root / card.folder
    if not folder.is_dir():
        raise UsageError(f"{card.name} is not at {folder}: {card.how_to_get}")
    for name, expected in card.sizes.items():
        path = folder / name
        if not path.is_file():
            raise UsageError(f"{card.name} lacks the file {path}: {card.how_to_get}")
        size = path.stat().st_size
        if size < expected:
            lengths = f"{size:,} of {expected:,} bytes"
            raise UsageError(f"{path} is truncated ({lengths}). Delete it and fetch it again")
        if size > expected:
            raise UsageError(f"{path} is not the official file: {size:,} bytes, not {expected:,}")
    for name, digest in card.checksums.items():
        if sha256_of_file(path := folder / name) != digest:
            raise UsageError(
                f"{path} is damaged or was changed: its sha256 is not the official one. Delete it and fetch it again"
            )


def load_cifar10(card: Card, root: Path) -> dict[str, NDArray[np.uint8]]:
    """Read the files, which must have been verified: uint8 ``[N, 32, 32, 3]`` by split.

    The order of each split is fixed and random; the last tenth of the training order (5,000 images of the
    official 50,000) are the validation images, for every seed of a run.
    """
    train, test = (read_planes(card, root, prefix) for prefix in ("data_batch", "test_batch"))
    mixed = order(_SPLIT_SEED, Stream.SPLIT, 0, len(train))
    held_out = len(train) // 10
    return {
        "train": _rows(train, mixed[:-held_out]),
        "validation": _rows(train, mixed[-held_out:]),
        "test": _rows(test, order(_SPLIT_SEED, Stream.SPLIT, 1, len(test))),
    }


def download(card: Card, root: Path) -> None:
    """Download CIFAR-10 into the user's cache; of several processes one does it and the others wait.

    Raises:
        AvqError: no network, a full disk, or a download that is not what it should be.
    """
    from torchvision.datasets import CIFAR10

    try:
        with held(root / f".{card.name}.lock", wait=True):
            if is_there(card, root):
                return
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{card.name}-") as scratch:
                CIFAR10(scratch, download=True)
                verify(card, Path(scratch))
                shutil.rmtree(root / card.folder, ignore_errors=True)  # an incomplete one in our own cache
                (Path(scratch) / card.folder).rename(root / card.folder)
    except (OSError, RuntimeError, DiskError) as error:
        reason = str(error).partition(";")[0]  # the advice of a DiskError is about stores
        raise AvqError(f"could not download {card.name} to {root} ({reason}): {card.how_to_get}") from error


def read_planes(card: Card, root: Path, prefix: str) -> NDArray[np.uint8]:
    """The images of the files whose names begin so, as they are stored: uint8 ``[N, 3, 32, 32]``."""
    with warnings.catch_warnings():
        # The official pickles predate NumPy 2.4, which warns of how they state an alignment.
        warnings.filterwarnings("ignore", message="dtype\\(\\): align should be passed")
        paths = [root / card.folder / name for name in card.checksums if name.startswith(prefix)]
        files = [pickle.loads(path.read_bytes(), encoding="latin1") for path in paths]  # noqa: S301  # verified
    return np.concatenate([file["data"] for file in files]).reshape(-1, 3, 32, 32)


def _rows(planes: NDArray[np.uint8], chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The chosen images as contiguous ``[N, 32, 32, 3]``, in pieces that fit the processor's cache."""
    rows = np.empty((len(chosen), 32, 32, 3), np.uint8)
    for low in range(0, len(chosen), _PIECE):
        piece = planes[chosen[low : low + _PIECE]]
        for channel in range(3):
            rows[low : low + _PIECE, :, :, channel] = piece[:, channel]
    return rows
