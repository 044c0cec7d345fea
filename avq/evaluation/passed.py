"""A model that has made all images of a split: what measures it afterwards is given this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avq.data.sources import Dataset, ImageSet
from avq.metrics.measurement import Measurement
from avq.models.tokenizer import Tokenizer

BASE = ("avq.metrics.codebook:CodebookUse", "avq.metrics.error:MeanAbsoluteError")
"""What is always measured beforehand."""


@dataclass(frozen=True)
class Passed:
    """After the pass over a split.

    Attributes:
        model: in eval mode, on `device`.
        dataset: all images.
        split: the one that was passed.
        device: where to compute.
        rows: what was measured on the way.
        commonest: the most frequent code of each level over the split, bottom first.
    """

    model: Tokenizer
    dataset: Dataset
    split: str
    device: str
    rows: Sequence[Measurement]
    commonest: Sequence[int]

    @property
    def images(self) -> ImageSet:
        """Those of the split."""
        images: ImageSet = getattr(self.dataset, self.split)
        return images
