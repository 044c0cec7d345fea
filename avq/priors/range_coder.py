"""A range coder (Martin 1979): whole numbers to bytes by the intervals of their frequencies, and back."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

BITS = 24
"""Frequencies add up to two to this power."""

_MASK, _LOW = 2**64 - 1, 2**56  # a range below the second gives a byte away


class Encoder:
    """Takes numbers one after the other; `finish` returns the bytes."""

    def __init__(self) -> None:
        self._low, self._range, self._out = 0, _MASK, bytearray()

    def put(self, start: int, end: int) -> None:
        """The number whose frequencies are `start` to `end` of 2**BITS."""
        unit = self._range >> BITS
        self._add(start * unit)
        self._range = (end - start) * unit
        while self._range < _LOW:
            self._out.append(self._low >> 56)
            self._low, self._range = (self._low << 8) & _MASK, self._range << 8

    def finish(self) -> bytes:
        """All bytes; zeros at the end are left out, as the decoder reads them beyond the end."""
        self._add(_LOW - 1)  # the range is larger, so the upper byte alone is within it
        self._out.append(self._low >> 56)
        return bytes(self._out).rstrip(b"\0")

    def _add(self, value: int) -> None:
        self._low += value
        if self._low > _MASK:  # the carry goes into the bytes given away
            self._low &= _MASK
            at = len(self._out) - 1
            while self._out[at] == 255:
                self._out[at] = 0
                at -= 1
            self._out[at] += 1


class Decoder:
    """Gives the numbers back in the order in which they were put."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._range = data, 8, _MASK
        self._value = int.from_bytes(data[:8].ljust(8, b"\0"), "big")

    def get(self, bounds: NDArray[Any]) -> int:
        """The number, by the bounds of all: int64 `[K + 1]` from 0 to 2**BITS."""
        unit = self._range >> BITS
        number = int(bounds.searchsorted(min(self._value // unit, 2**BITS - 1), side="right")) - 1
        start, end = int(bounds[number]), int(bounds[number + 1])
        self._value -= start * unit
        self._range = (end - start) * unit
        while self._range < _LOW:
            byte = self._data[self._at] if self._at < len(self._data) else 0
            self._value, self._range, self._at = (self._value << 8) | byte, self._range << 8, self._at + 1
        return number
