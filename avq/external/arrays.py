"""Arrays in .npy and .npz files, read piece by piece: neither unpickled nor read into memory as a whole."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from avq.errors import UsageError, reason_of

SUFFIXES = (".npy", ".npz")
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayFile:
    """One array in a file.

    Attributes:
        path: the file.
        member: the array's name inside an .npz file; empty for .npy.
        shape: all sizes; the first counts the images.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def label(self) -> str:
        """How messages call it."""
        return _label(self.path, self.member)

    def chunks(self, size: int) -> Generator[NDArray[Any], None, None]:
        """The array from its beginning, `size` entries of the first axis at a time, in native byte order.

        The file stays open until the generator is exhausted or closed.

        Raises:
            UsageError: the file is damaged.
        """
        item = math.prod(self.shape[1:]) * self.dtype.itemsize
        with _opened(self.path, self.member) as stream:
            _header(stream, self.label)
            for start in range(0, self.shape[0], size):
                count = min(size, self.shape[0] - start)
                data = stream.read(count * item)
                if len(data) < count * item:
                    raise UsageError(f"{self.label} is cut short: it ends within entry {start + len(data) // item}")
                piece = np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
                yield piece.astype(self.dtype.newbyteorder("="))


def open_arrays(path: Path) -> dict[str, ArrayFile]:
    """Every array of a file by name (that of a .npy is ""), from the headers only.

    Raises:
        UsageError: no such file, not an array file, a damaged one, or one that only unpickling could read.
    """
    if not path.is_file():
        raise UsageError(f"no file at {path}")
    members = [""]
    if path.suffix.lower() == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except zipfile.BadZipFile:
            raise UsageError(f"{path} is not an .npz file, or it is damaged") from None
        if not members:
            raise UsageError(f"{path} holds no array")
    return {member: _open(path, member) for member in members}


def _open(path: Path, member: str) -> ArrayFile:
    with _opened(path, member) as stream:
        shape, dtype = _header(stream, _label(path, member))
    if not shape:
        raise UsageError(f"{_label(path, member)} is a single value, not an array")
    return ArrayFile(path, member, shape, dtype)


def _label(path: Path, member: str) -> str:
    return f"{path} (array '{member}')" if member else str(path)


@contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    try:
        if member:
            with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as file:
                yield file
        else:
            with path.open("rb") as file:
                yield file
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} is damaged or cannot be read: {reason_of(error)}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def _header(stream: IO[bytes], label: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception:  # on damaged text numpy's parser raises many kinds of error, TokenError among them
        raise UsageError(f"{label} is not an array as numpy saves it, or it is damaged") from None
    if dtype.hasobject or dtype.names:
        raise UsageError(f"{label} holds Python objects or records; save one plain array of numbers")
    if fortran and len(shape) > 1:
        raise UsageError(f"{label} is stored column by column; save numpy.ascontiguousarray(array) instead")
    return tuple(int(side) for side in shape), dtype
