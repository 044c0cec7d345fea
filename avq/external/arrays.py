"""Arrays in .npy and .npz files, read piece by piece: neither unpickled nor held whole."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from avq.errors import UsageError

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class ArrayFile:
    """One array in a file.

    Attributes:
        path: the file.
        member: the array's name inside an .npz file; None for .npy.
        shape: all sizes, the first of them counts the images.
    """

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def label(self) -> str:
        """How messages call it."""
        return str(self.path) if self.member is None else f"{self.path} (array '{self.member}')"

    def chunks(self, size: int) -> Iterator[NDArray[Any]]:
        """The array from its beginning, `size` entries of the first axis at a time, in native byte order.

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
    """Every array of a file by name (that of a .npy is ""), from the headers alone.

    Raises:
        UsageError: no such file, not an array file, a damaged one, or one that only unpickling could read.
    """
    if not path.is_file():
        raise UsageError(f"no file at {path}")
    members: list[str | None] = [None]
    if path.suffix.lower() == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(".npy")]
        except zipfile.BadZipFile:
            raise UsageError(f"{path} is not an .npz file, or it is damaged") from None
        if not members:
            raise UsageError(f"{path} holds no array")
    return {(member or "").removesuffix(".npy"): _open(path, member) for member in members}


def _open(path: Path, member: str | None) -> ArrayFile:
    label = str(path) if member is None else f"{path} (array '{member.removesuffix('.npy')}')"
    with _opened(path, member and member.removesuffix(".npy")) as stream:
        shape, dtype = _header(stream, label)
    if not shape:
        raise UsageError(f"{label} is a single value, not an array")
    return ArrayFile(path, None if member is None else member.removesuffix(".npy"), shape, dtype)


@contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    try:
        if member is None:
            with path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as file:
                yield file
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} is damaged or cannot be read: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def _header(stream: IO[bytes], label: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream)
    except Exception:  # numpy's parser of headers meets damaged text with whatever comes first, TokenError too
        raise UsageError(f"{label} is not an array as numpy saves it, or it is damaged") from None
    if dtype.hasobject or dtype.names:
        raise UsageError(f"{label} holds Python objects or records; save one plain array of numbers")
    if fortran and len(shape) > 1:
        raise UsageError(f"{label} is stored column by column; save numpy.ascontiguousarray(array) instead")
    return tuple(int(side) for side in shape), dtype
