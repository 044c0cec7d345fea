"""CIFAR-10 through torchvision, with every file checked before it is unpickled."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

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
    """Whether every file of the card exists, whatever it holds."""
    return all((root / card.folder / name).is_file() for name in card.checksums)


def verify(card: Card, root: Path) -> None:
    """Check size and sha256 of every file.

    Raises:
        UsageError: a file is missing, truncated or not the official one; the line names it.
    """
    folder = root / card.folder
    if not folder.is_dir():
        raise UsageError(f"{card.name} is not at {folder}: {card.how_to_get}")
    for name in card.checksums:
        if not (folder / name).is_file():
            raise UsageError(f"{card.name} lacks the file {folder / name}: {card.how_to_get}")
        size, expected = (folder / name).stat().st_size, card.sizes[name]
        if size < expected:
            lengths = f"{size:,} of {expected:,} bytes"
            raise UsageError(f"{folder / name} is truncated ({lengths}). Delete it and fetch it again")
        if size > expected:
            raise UsageError(f"{folder / name} is not the official file: {size:,} bytes, not {expected:,}")
    for name, digest in card.checksums.items():
        if sha256_of_file(folder / name) != digest:
            raise UsageError(
                f"{folder / name} is damaged or was changed: its sha256 is not the official one. Delete it "
                "and fetch it again"
            )


def load_cifar10(card: Card, root: Path) -> dict[str, NDArray[np.uint8]]:
    """Read the files, which must have been verified: uint8 ``[N, 32, 32, 3]`` by split.

    The order of each split is fixed and random; the last tenth of the training order (5,000 images of the
    official 50,000) are the validation images, whatever the run's seed.
    """
    train, test = _read(card, root, train=True), _read(card, root, train=False)
    mixed = order(_SPLIT_SEED, Stream.SPLIT, 0, len(train))
    kept = len(train) - len(train) // 10
    return {
        "train": _rows(train, mixed[:kept]),
        "validation": _rows(train, mixed[kept:]),
        "test": _rows(test, order(_SPLIT_SEED, Stream.SPLIT, 1, len(test))),
    }


def download(card: Card, root: Path) -> None:
    """Fetch CIFAR-10 into the user's cache; of several processes one does it and the others wait.

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


def _rows(images: NDArray[np.uint8], chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The chosen images, contiguous; from the files' planar layout in pieces that fit the cache."""
    planes = images.transpose(0, 3, 1, 2)
    rows = np.empty((len(chosen), *images.shape[1:]), np.uint8)
    for low in range(0, len(chosen), _PIECE):
        piece = planes[chosen[low : low + _PIECE]]
        for channel in range(3):
            rows[low : low + _PIECE, :, :, channel] = piece[:, channel]
    return rows


def _read(card: Card, root: Path, train: bool) -> NDArray[np.uint8]:
    from torchvision.datasets import CIFAR10

    class Verified(CIFAR10):  # type: ignore[misc]
        """torchvision's reader without its own md5 pass: `verify` has checked every file by sha256."""

        base_folder = card.folder
        meta = {**CIFAR10.meta, "md5": None}  # noqa: RUF012

        def _check_integrity(self) -> bool:
            return True

    with warnings.catch_warnings():
        # The official pickles predate NumPy 2.4, which warns of how they state an alignment.
        warnings.filterwarnings("ignore", message="dtype\\(\\): align should be passed")
        data: Any = Verified(str(root), train=train).data
    return np.asarray(data, np.uint8)
