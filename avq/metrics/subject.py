"""What is measured, and what it is compared with (torch-free)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
    """

    codebook_sizes: Sequence[int]
    decoder_levels: Sequence[int]
    image_size: int
    reference: ReferenceSet | None = None
    allow_small: bool = False
