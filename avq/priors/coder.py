"""Codes to bytes and back through a prior, which shows that its rate is one of real files.

Both ways compute the probabilities by the same steps, one place at a time through the cache, on one CPU thread and in
batches of one size, so that they get the same floats. A file is therefore read where it was written: on that machine,
with that release of torch.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from avq.errors import UsageError
from avq.priors.range_coder import BITS, Decoder, Encoder
from avq.priors.threads import one_thread
from avq.priors.transformer import Cache, Prior

_HEADER = struct.Struct("<II")  # images, and the CRC-32 of their codes
_TOKENS_AT_ONCE = 2**13


def compress(prior: Prior, sequences: Tensor, labels: Tensor | None = None) -> bytes:
    """Bytes for sequences int64 `[N, T]`: 8 of a header, then -log2 p of the codes in bits, and hardly more.

    `labels` are classes int64 `[N]` where the prior has them; they are not written.
    """
    coder = Encoder()
    with one_thread():
        for part, classes in _batches(sequences, labels):
            for place, bounds in enumerate(_bounds(prior, part, classes)):
                codes = part[:, place].numpy()
                rows = np.arange(len(codes))
                for start, end in zip(bounds[rows, codes].tolist(), bounds[rows, codes + 1].tolist(), strict=True):
                    coder.put(start, end)
    return _HEADER.pack(len(sequences), _checksum(sequences)) + coder.finish()


def decompress(prior: Prior, data: bytes, labels: Tensor | None = None) -> Tensor:
    """The sequences int64 `[N, T]` of `compress`.

    UsageError for other bytes, another prior, or a machine that computes other floats.
    """
    if len(data) < _HEADER.size:
        raise UsageError(f"{len(data)} bytes are no compressed codes.")
    count, checksum = _HEADER.unpack_from(data)
    coder = Decoder(data[_HEADER.size :])
    sequences = torch.zeros(count, prior.layout.length, dtype=torch.int64)
    with one_thread():
        for part, classes in _batches(sequences, labels):
            for place, bounds in enumerate(_bounds(prior, part, classes)):
                part[:, place] = torch.tensor([coder.get(row) for row in bounds])
    if _checksum(sequences) != checksum:
        raise UsageError("the compressed codes are damaged, or were written with another prior, labels or machine.")
    return sequences


@torch.inference_mode()
def _bounds(prior: Prior, sequences: Tensor, labels: Tensor | None) -> Iterator[NDArray[np.int64]]:
    """Of each place, `[B, K + 1]` from 0 to 2**BITS; each code before it must be in `sequences` by then.

    Every code below the place's K has at least 1 of the 2**BITS; what rounding leaves goes to the most probable.
    """
    prior = prior.cpu().eval()
    cache = Cache(prior, len(sequences))
    for place, size in enumerate(prior.layout.codebook_sizes().tolist()):
        p = F.softmax(prior(sequences[:, :place], labels, cache)[:, -1, :size].double(), -1)
        frequencies = (p * (2**BITS - size)).long() + 1
        rest = 2**BITS - frequencies.sum(1, keepdim=True)
        frequencies.scatter_add_(1, p.argmax(1, keepdim=True), rest)
        yield F.pad(frequencies.cumsum(1), (1, 0)).numpy()


def _batches(sequences: Tensor, labels: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Views of the sequences, and their classes."""
    size = max(1, _TOKENS_AT_ONCE // sequences.shape[1])
    for start in range(0, len(sequences), size):
        part = slice(start, start + size)
        yield sequences[part], None if labels is None else labels[part]


def _checksum(sequences: Tensor) -> int:
    return zlib.crc32(sequences.numpy().astype("<i8").tobytes())
