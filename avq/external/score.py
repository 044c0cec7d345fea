"""Measuring reconstructions that any tool wrote, under the protocol of `evaluate`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from avq.data.hashing import DIGITS
from avq.data.loader import EVALUATION_PIXELS, to_model
from avq.errors import UsageError
from avq.external.codes import OutsideCodes, open_codes
from avq.external.eight_bit import eight_bit_rows
from avq.external.files import FolderImages
from avq.external.images import Images, open_images
from avq.external.ranges import Range
from avq.external.sanity import SanityChecks
from avq.metrics.evaluator import Evaluator
from avq.metrics.measurement import Measurement
from avq.metrics.measures import measured_together, measures
from avq.metrics.registry import METRICS
from avq.metrics.subject import ReferenceSet, Subject

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3


class Scored(NamedTuple):
    """The measurements, a frame with one row per image, and notes on how they came about."""

    measurements: list[Measurement]
    per_image: pd.DataFrame
    notes: list[str]


class Pairs(NamedTuple):
    """Two sets of images that fit together, and perhaps the codes between them."""

    originals: Images
    reconstructions: Images
    codes: OutsideCodes | None


def open_pairs(
    originals: Path,
    reconstructions: Path,
    codes: Path | None = None,
    codebook_sizes: Sequence[int] = (),
    decoder_levels: Sequence[int] | None = None,
    *,
    ranges: tuple[Range | None, Range | None] = (None, None),
    allow_lossy: bool = False,
) -> Pairs:
    """Open two folders or array files for `score`, with every check that needs no measuring.

    Files are paired by their names without suffix, arrays by position.

    Args:
        originals: folder, .npy or .npz.
        reconstructions: the same.
        codes: .npy or .npz with an array per level (see `open_codes`).
        codebook_sizes: K per level, bottom first, or one for all; needed with `codes`.
        decoder_levels: levels that the decoder sees; default: all.
        ranges: what the values of float arrays mean, originals and reconstructions; None: it follows from them.
        allow_lossy: accept reconstructions in a lossy format, and mark the rows.

    Raises:
        UsageError: anything that would make the numbers mean something else than they seem to; one line.
    """
    if originals.resolve() == reconstructions.resolve():
        raise UsageError(f"originals and reconstructions are the same: {originals}")
    if (codes is None) != (not codebook_sizes):
        raise UsageError("--codes and --codebook-size belong together: the rate needs both")
    mine = open_images(originals, "originals", ranges[0])
    theirs = open_images(reconstructions, "reconstructions", ranges[1], allow_lossy)
    check_pairs(mine, theirs)
    opened = open_codes(codes, codebook_sizes, len(mine), decoder_levels) if codes else None
    return Pairs(mine, theirs, opened)


@torch.no_grad()
def score(
    originals: Images,
    reconstructions: Images,
    codes: OutsideCodes | None = None,
    *,
    faces: bool = False,
    device: str = "cpu",
    allow_small: bool = False,
    on_images: Callable[[int], None] | None = None,
) -> Scored:
    """All metrics of two sets of images that fit together (`open_pairs`), read batch by batch.

    8-bit reconstructions have `recon=uint8` in the protocol ids of what is measured on pixels: ids and numbers are
    those of `evaluate` with rounding. Floats have the ids of `evaluate` without it.

    Args:
        originals: the images as the model saw them.
        reconstructions: the model's output, in the same order.
        codes: what was decoded; None leaves the rate n/a.
        faces: whether the images show faces, whose symmetry means something.
        device: where to compute.
        allow_small: report a Fréchet distance of fewer images than it needs, and mark it.
        on_images: called with the number of images done.

    Raises:
        UsageError: a damaged file, or a code outside its codebook.
    """
    height, width = originals.size
    codebook_sizes, decoder_levels = (codes.codebook_sizes, codes.decoder_levels) if codes else ([], [])
    against = ReferenceSet(fingerprint(originals), len(originals), faces)
    subject = Subject(codebook_sizes, decoder_levels, min(height, width), against, allow_small)
    square = height == width
    excluded = ("model",) if square else ("model", "codes")
    only = [name for name, metrics in measured_together().items() if metrics[0].of not in excluded]
    evaluator = Evaluator(measures(subject, only), against.id)
    checks, size = SanityChecks(), max(1, EVALUATION_PIXELS // (height * width))
    evaluator.prepare(lambda: (_to_model(batch, device) for batch in originals.batches(size)))
    with ExitStack() as opened:
        left, right = (opened.enter_context(closing(side.batches(size))) for side in (originals, reconstructions))
        levels = opened.enter_context(closing(codes.batches(size))) if codes else None
        for pair in zip(left, right, strict=True):
            reference, reconstruction = (_to_model(batch, device) for batch in pair)
            evaluator.update(reference, reconstruction, [c.to(device) for c in next(levels)] if levels else [])
            checks.add(reference, reconstruction)
            if on_images:
                on_images(evaluator.images)
    rows = explain_rate(evaluator.compute(), "no codes were given (--codes)" if codes is None else None)
    if reconstructions.eight_bit:
        lossy = isinstance(reconstructions, FolderImages) and reconstructions.lossy
        rows = eight_bit_rows(rows, "uint8-lossy" if lossy else "uint8")
    rate = next((row.value for row in rows if row.metric == "bits-per-pixel"), None)
    notes = [*originals.notes, *reconstructions.notes, *checks.notes(rate)]
    if codes and not square:
        notes.append("codebook use and rate are measured on square images only, and these are not square")
    return Scored(rows, evaluator.per_image(), notes)


def explain_rate(rows: Sequence[Measurement], reason: str | None) -> list[Measurement]:
    """The rows with `reason` where a measure of codes is not available; unchanged without a reason."""
    return [
        replace(row, reason=reason) if reason and row.status == "n/a" and METRICS[row.metric].of == "codes" else row
        for row in rows
    ]


def fingerprint(images: Images) -> str:
    """Of a set, taken batch by batch; of 8-bit images that of `avq.data.hashing.fingerprint_of_images`."""
    height, width = images.size
    kind = "" if images.eight_bit else "float32 "
    digest = hashlib.sha256(f"{kind}{(len(images), height, width, 3)!r}".encode())
    for batch in images.batches(max(1, EVALUATION_PIXELS // (height * width))):
        pixels = batch if images.eight_bit else batch.permute(0, 2, 3, 1).contiguous()
        digest.update(pixels.numpy().data)
    return digest.hexdigest()[:DIGITS]


def check_pairs(originals: Images, reconstructions: Images) -> None:
    """Check that every image has its counterpart, of the same size.

    Raises:
        UsageError: names or counts that do not match (how many, and the first), an order that is a guess, or sizes.
    """
    ours, theirs = originals.names, reconstructions.names
    if ours is not None and theirs is not None:
        _check_names(set(ours), set(theirs), originals.label, reconstructions.label)
    else:
        for named in (names for names in (ours, theirs) if names is not None):
            _check_order(named)
        if len(originals) != len(reconstructions):
            raise UsageError(
                f"{originals.label} has {len(originals):,} images, {reconstructions.label} has {len(reconstructions):,}"
            )
    if originals.size != reconstructions.size:
        (height, width), (h, w) = originals.size, reconstructions.size
        turned = ", or is one side turned, as by an EXIF orientation?" if (height, width) == (w, h) else ""
        raise UsageError(
            f"originals are {width}x{height} pixels, reconstructions {w}x{h}: give the originals as the model saw them"
            f"{turned}"
        )
    if isinstance(originals, FolderImages) and isinstance(reconstructions, FolderImages):
        odd = sorted(reconstructions.grey - originals.grey)
        if odd:
            raise UsageError(
                f"{len(odd):,} reconstructions are grey where their originals are not, the first '{odd[0]}': save RGB"
            )


def _check_names(ours: set[str], theirs: set[str], here: str, there: str) -> None:
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    if not missing and not extra:
        return
    parts = [
        f"{len(names):,} {what} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
        for names, what in (
            (missing, f"of {len(ours):,} originals have no reconstruction"),
            (extra, f"of {len(theirs):,} reconstructions have no original"),
        )
        if names
    ]
    alike = {name.rpartition("/")[2].lower() for name in ours} & {name.rpartition("/")[2].lower() for name in theirs}
    hint = "; are names in other folders, or in capitals, meant to match?" if alike and not ours & theirs else ""
    raise UsageError(f"{' and '.join(parts)}: {here} and {there} are paired by name without suffix{hint}")


def _check_order(names: list[str]) -> None:
    """Position decides only if sorting by text and by number agree."""
    natural = sorted(names, key=lambda name: [(part.zfill(20), len(part)) for part in re.split(r"(\d+)", name)])
    if natural != names:
        first = next(a for a, b in zip(names, natural, strict=True) if a != b)
        raise UsageError(
            "a folder is paired with an array by position, but sorting its names by text and by number differs, "
            f"first at '{first}': pad the numbers with zeros, or give two folders"
        )


def _to_model(batch: Tensor, device: str) -> Tensor:
    return to_model(batch, device) if batch.dtype == torch.uint8 else batch.to(device)
