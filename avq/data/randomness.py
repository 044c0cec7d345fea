"""Random numbers by position: any of them can be computed without drawing those before it.

NumPy guarantees the raw stream of a bit generator for ever (NEP 19), but not the methods of ``Generator``. So all is
made from the raw words of Philox (Salmon et al. 2011, counter-based), and a split, an order or a picture is the same on
every machine and with every NumPy.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_NUMBER_BITS = 56
_WORDS_PER_BLOCK = 4


class Stream(IntEnum):
    """The purpose of random words: streams never share a word, for any seed."""

    PICTURES = 1
    SPLIT = 2
    ORDER = 3
    FLIP = 4


def words(seed: int, stream: Stream, number: int, count: int, start: int = 0) -> NDArray[np.uint64]:
    """Words ``start`` to ``start + count`` of one sequence.

    Args:
        seed: from 0; taken modulo 2**64.
        stream: their purpose.
        number: of the sequence in its stream, such as the epoch or the step; below 2**56.
        count: how many words.
        start: the first one; a multiple of 4.
    """
    if start % _WORDS_PER_BLOCK or not 0 <= number < 1 << _NUMBER_BITS:
        raise ValueError(f"no words at start {start}, number {number}")
    key = np.array([seed % (1 << 64), (int(stream) << _NUMBER_BITS) | number], dtype=np.uint64)
    generator = np.random.Philox(key=key)
    generator.advance(start // _WORDS_PER_BLOCK)
    return np.asarray(generator.random_raw(count), dtype=np.uint64)


def order(seed: int, stream: Stream, number: int, length: int) -> NDArray[np.int64]:
    """A random permutation of ``range(length)``."""
    return np.argsort(words(seed, stream, number, length), kind="stable").astype(np.int64, copy=False)
