"""What the values of a float array mean: decided from the whole array, or refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avq.errors import UsageError

Range = Literal["unit", "signed", "byte"]
RANGES: dict[Range, tuple[float, float]] = {"unit": (0.0, 1.0), "signed": (-1.0, 1.0), "byte": (0.0, 255.0)}
_NAMES = "unit is [0, 1], signed is [-1, 1], byte is [0, 255]"
_HALF_ERROR, _EXACT = 0.1, 0.01  # in 8-bit levels: of half-precision values, and of others


@dataclass
class Survey:
    """Smallest and largest value, and whether all values are 8-bit levels of a range; over the whole array."""

    low: float = np.inf
    high: float = -np.inf
    outside: dict[Range, int] = field(default_factory=lambda: dict.fromkeys(RANGES, 0))
    levels: dict[Range, bool] = field(default_factory=lambda: dict.fromkeys(RANGES, True))
    entries: int = 0

    def add(self, piece: NDArray[np.floating], label: str) -> None:
        """Take the next images `[B, ...]`.

        Raises:
            UsageError: a value is not finite; the first image that holds one is named.
        """
        finite = np.isfinite(piece).reshape(len(piece), -1).all(1)
        if not finite.all():
            first = self.entries + int(np.flatnonzero(~finite)[0])
            raise UsageError(f"{label} holds NaN or infinite values, first in image {first} (counted from 0)")
        self.entries += len(piece)
        self.low, self.high = min(self.low, float(piece.min())), max(self.high, float(piece.max()))
        tolerance = _HALF_ERROR if piece.dtype.itemsize == 2 else _EXACT
        for name, (low, high) in RANGES.items():
            self.outside[name] += int(((piece < low) | (piece > high)).sum())
            if self.levels[name]:
                scaled = (piece.astype(np.float64) - low) * (255 / (high - low))
                self.levels[name] = bool((abs(scaled - scaled.round()) <= tolerance).all())

    def decide(self, asked: Range | None, label: str, *, may_overshoot: bool) -> Range:
        """The range of the values: the user's, if it is possible, else the only one that explains them.

        Args:
            asked: the user's.
            label: what messages call the array.
            may_overshoot: a reconstruction may exceed its range a little, and is clamped; an original may not.

        Raises:
            UsageError: the values contradict the user's range, or fit several ranges or none.
        """
        spans = f"{label} spans {self.low:.4g} to {self.high:.4g}"
        if asked is not None:
            low, high = RANGES[asked]
            slack = (high - low) * (0.5 if may_overshoot else 1e-3)
            if self.low < low - slack or self.high > high + slack:
                raise UsageError(f"{spans}, which --range {asked} ([{low:g}, {high:g}]) does not allow: {_NAMES}")
            return asked
        if self.low >= 0 and 0.02 < self.high <= 1:
            return "unit"
        if -2 <= self.low <= -0.5 and self.high <= 2 and (may_overshoot or (self.low >= -1.001 and self.high <= 1.001)):
            return "signed"
        if self.low >= 0 and 16 < self.high <= 255:
            return "byte"
        raise UsageError(f"{spans}: say what its values mean with --range ({_NAMES}; ORIGINALS,RECONSTRUCTIONS)")

    def is_eight_bit(self, chosen: Range) -> bool:
        """Whether every value is one of the 256 levels: the array holds 8-bit images as floats."""
        return self.levels[chosen] and self.outside[chosen] == 0
