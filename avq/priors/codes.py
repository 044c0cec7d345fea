"""The codes of a split, encoded once and read from the disk as they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.data.sources import ImageSet
from avq.files import disk_error, written_whole
from avq.models.tokenizer import Tokenizer
from avq.priors.sequence import Layout, layout_of


class Codes(NamedTuple):
    """Sequences `[N, T]` of whole numbers, and classes int64 `[N]`, if any."""

    sequences: NDArray[Any]
    labels: NDArray[Any] | None = None

    def batch(self, rows: NDArray[Any] | slice, device: str = "cpu") -> tuple[Tensor, Tensor | None]:
        """Some of the sequences and their classes, both int64."""
        chosen = torch.from_numpy(self.sequences[rows].astype(np.int64)).to(device)
        return chosen, None if self.labels is None else torch.from_numpy(self.labels[rows]).to(device)


def smallest_type(codebook_size: int) -> type[np.generic]:
    """The type that codes below K are stored as: uint8, uint16 or int32."""
    return np.uint8 if codebook_size <= 2**8 else np.uint16 if codebook_size <= 2**16 else np.int32


def tokenizer_layout(tokenizer: Tokenizer, image_size: int) -> Layout:
    """The layout of the codes of square images of that side in pixels."""
    return layout_of(tokenizer.codes_of_blank(image_size), tokenizer.codebook_sizes, tokenizer.decoder_levels)


def codes_file(folder: Path, checkpoint: str, images: ImageSet, flips: bool) -> Path:
    """The cache of a split's codes: by the checksum of the tokenizer's checkpoint and the split's fingerprint."""
    return folder / f"{checkpoint[:16]}-{images.fingerprint}{'-flips' if flips else ''}.npy"


@torch.inference_mode()
def encode_once(
    tokenizer: Tokenizer, images: ImageSet, layout: Layout, path: Path, *, flips: bool = False, device: str = "cpu"
) -> NDArray[Any]:
    """The sequences `[N, T]` of a split's images, memory-mapped; encoded now unless the file has them.

    With `flips` the mirrored images follow, `[2N, T]`. DiskError where the file cannot be written.
    """
    shape, kind = ((1 + flips) * len(images), layout.length), np.dtype(smallest_type(layout.vocabulary))
    try:
        return _mapped(path, shape, kind)
    except (OSError, ValueError):
        pass  # missing, or not these codes
    tokenizer = tokenizer.to(device).eval()
    size = images_within(EVALUATION_PIXELS, images.images)
    found = np.empty(shape, kind)
    for flip in range(1 + flips):
        for start in range(0, len(images), size):
            batch = images.images[start : start + size]
            codes = tokenizer.encode(to_model(batch.flip(2) if flip else batch, device))
            at = flip * len(images) + start
            found[at : at + len(batch)] = layout.flatten(codes).cpu().numpy()
    try:
        with written_whole(path) as aside:
            np.save(aside, found)
    except OSError as error:
        raise disk_error(path, error) from None
    return _mapped(path, shape, kind)


def _mapped(path: Path, shape: tuple[int, ...], kind: np.dtype) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if mapped.shape != shape or mapped.dtype != kind:
        raise ValueError(f"{path} has codes {mapped.shape} of {mapped.dtype}")
    return mapped
