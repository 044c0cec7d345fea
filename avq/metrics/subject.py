"""What is measured, and what it is compared with (torch-free)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avq.errors import UsageError


@dataclass(frozen=True)
class ReferenceSet:
    """The images that an evaluation compares with.

    Attributes:
        id: fingerprint of exactly these images in this order, such as `ImageSet.fingerprint`.
        images: how many there are.
        faces: whether they show faces, whose symmetry means something.
    """

    id: str
    images: int
    faces: bool = False


@dataclass(frozen=True)
class Subject:
    """What a metric has to know beforehand of what is measured.

    Attributes:
        codebook_sizes: codebook size per level, bottom first; empty for a model without codes.
        decoder_levels: levels (1 = bottom) that the decoder sees.
        image_size: side of the images in pixels.
        reference: what is compared with; without it there are no distances of distributions.
        allow_small: report a Fréchet distance of fewer images than it needs, and mark it.

    Raises:
        UsageError: `decoder_levels` are not levels that exist, each once.
    """

    codebook_sizes: Sequence[int]
    decoder_levels: Sequence[int]
    image_size: int
    reference: ReferenceSet | None = None
    allow_small: bool = False

    def __post_init__(self) -> None:
        check_levels(self.decoder_levels, len(self.codebook_sizes))


def check_levels(decoder_levels: Sequence[int], levels: int) -> None:
    """UsageError unless `decoder_levels` names one or more of 1 to `levels`, each once (none where there are none)."""
    exist = range(1, levels + 1)
    if len(set(decoder_levels) & set(exist)) < max(len(decoder_levels), min(1, levels)):
        known = f"levels 1 to {levels}, each once" if levels else "no level: there are no codes"
        raise UsageError(f"decoder_levels {list(decoder_levels)}: the decoder sees one or more of {known}")
