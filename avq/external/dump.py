"""Codes of whole splits that another tool wrote, for a prior to learn from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from avq.errors import UsageError
from avq.external.arrays import ArrayFile, open_arrays
from avq.priors.sequence import Grid, Layout

_NAME = re.compile(r"(train|validation|test)(?:-level-(\d+))?")

Splits = dict[str, list[NDArray[Any]]]


def read_dump(
    path: Path,
    codebook_sizes: Sequence[int],
    shapes: Sequence[tuple[int, ...]] = (),
    decoder_levels: Sequence[int] | None = None,
) -> tuple[Splits, Layout]:
    """The codes of an .npz by split, each with an array per level, bottom level first, and their layout.

    Args:
        path: the file, with arrays `train`, `test` and perhaps `validation`, or `train-level-1` (the finest) and so on.
        codebook_sizes: K per level, bottom first, or one for all.
        shapes: height, width and perhaps depth per level, for arrays `[N, T]`; default: that of the arrays, tokens in a
            row where they have only T.
        decoder_levels: the levels that the decoder sees; default: all.

    Raises:
        UsageError: arrays that are missing or have other names, types or shapes; one line.
    """
    found: dict[str, dict[int, ArrayFile]] = {}
    for name, array in open_arrays(path).items():
        match = _NAME.fullmatch(name)
        if match is None or array.dtype.kind not in "iu":
            raise UsageError(f"{array.label}: needed are whole numbers by the names train, test and validation.")
        found.setdefault(match[1], {})[int(match[2] or 1)] = array
    if not {"train", "test"} <= found.keys():
        raise UsageError(f"{path} holds {', '.join(sorted(found))}: codes to train on and for test are needed.")
    levels = sorted(found["train"])
    if any(sorted(arrays) != list(range(1, len(levels) + 1)) for arrays in found.values()):
        raise UsageError(f"{path}: every split needs its levels from level-1 (the finest) on, as many as the others.")
    sizes, given = (_per_level(what, list(values), len(levels)) for what, values in
                    (("--codebook-size", codebook_sizes), ("--shape", shapes or [()])))  # fmt: skip
    shaped = [tuple(shape or _own_shape(found["train"][level])) for level, shape in zip(levels, given, strict=True)]
    grids = tuple(Grid(shape, size) for shape, size in zip(shaped, sizes, strict=True))
    splits = {name: [_read(arrays[level], shaped[level - 1]) for level in levels] for name, arrays in found.items()}
    return splits, Layout(grids, tuple(decoder_levels or levels))


def _per_level(what: str, values: list[Any], levels: int) -> list[Any]:
    if len(values) not in (1, levels):
        raise UsageError(f"{what} has {len(values)} values, for {levels} levels.")
    return values * levels if len(values) == 1 else values


def _own_shape(array: ArrayFile) -> tuple[int, ...]:
    return array.shape[1:] if len(array.shape) > 2 else (1, *array.shape[1:])


def _read(array: ArrayFile, shape: tuple[int, ...]) -> NDArray[Any]:
    whole = next(array.chunks(max(1, array.shape[0])), None)
    try:
        if whole is None:
            raise ValueError("it is empty")
        return whole.reshape(len(whole), *shape)
    except ValueError as error:
        raise UsageError(f"{array.label} is {list(array.shape)}, which is not {['N', *shape]} ({error}).") from None
