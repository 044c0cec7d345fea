"""Reconstructions rounded to 8 bits, as in a PNG, so that files and a model can be measured alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model, to_uint8
from avq.data.sources import ImageSet
from avq.errors import AvqError, UsageError
from avq.metrics.measurement import Measurement
from avq.metrics.registry import METRICS
from avq.models.asking import asks
from avq.models.tokenizer import Tokenizer


@contextmanager
def eight_bit(model: Tokenizer) -> Iterator[Tokenizer]:
    """The same model, whose images are clamped and rounded to 8 bits (`to_uint8`) within the block."""
    decode = model.decode
    hook = model.register_forward_hook(lambda _model, _inputs, out: out._replace(images=_rounded(out.images)))
    model.decode = lambda codes: _rounded(decode(codes))  # type: ignore[method-assign]
    try:
        yield model
    finally:
        hook.remove()
        del model.decode


def _rounded(images: Tensor) -> Tensor:
    return to_model(to_uint8(images.float()), images.device)


def eight_bit_rows(rows: Sequence[Measurement], how: str = "uint8") -> list[Measurement]:
    """The rows with `recon=<how>` in the protocol ids of all that is measured on pixels.

    Counts of codes do not change with the rounding and keep their ids; so does a metric that by its own definition
    takes 8-bit images, unless the file was lossy.
    """
    changed = ("pixels",) if how == "uint8" else ("pixels", "bytes")
    return [
        replace(row, protocol=f"{row.protocol};recon={how}") if METRICS[row.metric].of in changed else row
        for row in rows
    ]


@torch.no_grad()
@asks
def export_pairs(model: Tokenizer, images: ImageSet, folder: Path, device: str = "cpu") -> None:
    """Write `originals/` and `reconstructions/` as PNG, and `codes.npz` where the model has codes.

    Names are positions in the set. `score` measures of the files what `evaluate` measures within `eight_bit`.

    Raises:
        UsageError: the folder is not empty: files of two models must not mix.
        AvqError: it cannot be written to.
    """
    from PIL import Image

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty; name a new folder, so that files do not mix")
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    digits = max(6, len(str(len(images))))
    codes: list[list[np.ndarray[Any, Any]]] = [[] for _ in model.codebook_sizes]
    try:
        for part in ("originals", "reconstructions"):
            (folder / part).mkdir(parents=True)
        size = images_within(EVALUATION_PIXELS, images.images)
        for start in range(0, len(images), size):
            original = images.images[start : start + size]
            result = model(to_model(original, device))
            for part, pixels in (("originals", original), ("reconstructions", to_uint8(result.images.float()).cpu())):
                for offset, picture in enumerate(pixels.numpy()):
                    Image.fromarray(picture).save(folder / part / f"{start + offset:0{digits}}.png", compress_level=1)
            for batches, level in zip(codes, result.codes, strict=True):
                batches.append(level.cpu().numpy().astype(np.int32))
        if codes:
            levels = {f"level-{number}": np.concatenate(batches) for number, batches in enumerate(codes, 1)}
            np.savez_compressed(folder / "codes.npz", **levels)  # type: ignore[arg-type]
    except OSError as error:
        raise AvqError(f"cannot write to {folder}: {error.strerror or error}") from None
