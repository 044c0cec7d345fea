"""Images that another tool wrote: a folder of files or one array, checked, then streamed."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avq.errors import UsageError
from avq.external.arrays import SUFFIXES, ArrayFile, open_arrays
from avq.external.files import FolderImages
from avq.external.ranges import RANGES, Range, Survey

_SURVEY_VALUES = 2**22  # values of an array looked at together: 32 MiB as float64


class Images(Protocol):
    """Images of one size in a fixed order.

    Attributes:
        label: what messages call the set.
        names: one per file, in order; None where images have only a position.
        size: height and width in pixels.
        eight_bit: whether all values are 8-bit levels.
        notes: what a person should know about how the set was read.
    """

    label: str
    size: tuple[int, int]
    eight_bit: bool
    notes: list[str]

    @property
    def names(self) -> list[str] | None: ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Generator[Tensor, None, None]:
        """From the first image on: uint8 `[B, H, W, 3]` if `eight_bit`, else float32 `[B, 3, H, W]` around [-1, 1]."""


class ArrayImages:
    """One array of images: uint8, or floats whose range is given or follows from their values.

    Takes `[N, H, W, 3]`, `[N, 3, H, W]`, and grey `[N, H, W]`, `[N, H, W, 1]`, `[N, 1, H, W]`. Floats that are all
    8-bit levels are treated as 8-bit images.
    """

    names: list[str] | None = None

    def __init__(self, file: ArrayFile, role: str, asked: Range | None) -> None:
        self.file, self.label = file, f"{role} {file.label}"
        self.notes: list[str] = []
        self._channels_first, self.size = _layout(file)
        if 0 in file.shape:
            raise UsageError(f"{self.label} holds no image")
        self.range: Range | None = None
        if file.dtype == np.uint8:
            self.eight_bit = True
        elif file.dtype.kind == "f":
            self._survey(asked, may_overshoot=role == "reconstructions")
        else:
            raise UsageError(f"{self.label} is {file.dtype}; save uint8 in [0, 255], or floats")

    def __len__(self) -> int:
        return self.file.shape[0]

    def batches(self, size: int) -> Generator[Tensor, None, None]:
        for piece in self.file.chunks(size):
            pixels = torch.from_numpy(self._with_channels_last(piece))
            if self.range is None:
                yield pixels
                continue
            low, high = RANGES[self.range]
            unit = (pixels.double() - low) / (high - low)
            if self.eight_bit:
                yield (unit * 255).round().to(torch.uint8)
            else:
                signed = (unit * 2 - 1).float().permute(0, 3, 1, 2)
                yield signed.contiguous(memory_format=torch.channels_last)

    def _survey(self, asked: Range | None, may_overshoot: bool) -> None:
        survey = Survey()
        values = math.prod(self.file.shape[1:])
        with closing(self.file.chunks(max(1, _SURVEY_VALUES // values))) as pieces:
            for piece in pieces:
                survey.add(piece, self.label)
        self.range = survey.decide(asked, self.label, may_overshoot=may_overshoot)
        self.eight_bit = survey.is_eight_bit(self.range)
        low, high = RANGES[self.range]
        self.notes.append(
            f"{self.label} is read as [{low:g}, {high:g}] (values from {survey.low:.4g} to {survey.high:.4g})"
            + (", all of them 8-bit levels" if self.eight_bit else "")
        )
        outside = survey.outside[self.range]
        if outside:
            share = outside / (len(self) * values)
            self.notes.append(f"{share:.2%} of the values of {self.label} lie outside and are clamped")

    def _with_channels_last(self, piece: NDArray[np.generic]) -> NDArray[np.generic]:
        """`[B, H, W, 3]`; grey is repeated."""
        if piece.ndim == 3:
            piece = piece[..., None]
        elif self._channels_first:
            piece = piece.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(np.repeat(piece, 3, axis=3) if piece.shape[3] == 1 else piece)


def open_images(path: Path, role: str, asked: Range | None = None, allow_lossy: bool = False) -> Images:
    """Open a folder or an array file; read all headers, and all values of float arrays.

    Args:
        path: a folder of image files, a .npy, or an .npz with one array (or one called `images`).
        role: "originals" or "reconstructions".
        asked: range of a float array's values; None: it follows from them.
        allow_lossy: accept reconstructions that went through a lossy file.

    Raises:
        UsageError: anything that would make the numbers mean something else than they seem to; one line.
    """
    if path.is_dir():
        return FolderImages(path, role, allow_lossy)
    if path.suffix.lower() not in SUFFIXES:
        found = "is neither a folder nor a .npy or .npz file" if path.exists() else "does not exist"
        raise UsageError(f"{role} {path} {found}")
    arrays = open_arrays(path)
    if len(arrays) > 1 and "images" not in arrays:
        raise UsageError(f"{role} {path} holds {len(arrays)} arrays ({', '.join(arrays)}); call one of them 'images'")
    return ArrayImages(arrays.get("images") or next(iter(arrays.values())), role, asked)


def _layout(file: ArrayFile) -> tuple[bool, tuple[int, int]]:
    """Whether channels come first, and the images' height and width."""
    shape = list(file.shape)
    if len(shape) == 3 and (shape[2] in (1, 3, 4) or shape[0] == 3):
        raise UsageError(
            f"{file.label} is {shape}, one image or {shape[0]} grey ones: save it as {[1, *shape]} if it is one, else "
            f"as {[*shape, 1]}"
        )
    if len(shape) == 3:
        return False, (shape[1], shape[2])
    first, last = (len(shape) == 4 and shape[axis] in (1, 3) for axis in (1, 3))
    if first and last:
        raise UsageError(f"{file.label} is {shape}: it is unclear which axis holds the channels")
    if first:
        return True, (shape[2], shape[3])
    if last:
        return False, (shape[1], shape[2])
    if len(shape) == 4 and 4 in (shape[1], shape[3]):
        raise UsageError(f"{file.label} is {shape}: put transparent images on a background first, and save 3 channels")
    raise UsageError(f"{file.label} is {shape}; images are [N, H, W, 3] or [N, 3, H, W], grey ones [N, H, W]")
