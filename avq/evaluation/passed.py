"""A model that has reconstructed all images of a split: what `measured_after` names is called with this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avq.data.sources import Dataset, ImageSet
from avq.metrics.measurement import Measurement
from avq.models.tokenizer import Tokenizer


@dataclass(frozen=True)
class Passed:
    """The state after the pass over a split.

    Attributes:
        model: in eval mode, on `device`.
        dataset: all images.
        split: the one that was reconstructed.
        device: where to compute.
        rows: what was measured so far.
        commonest: what each of a level's R codes was most often over the split, bottom level first.
    """

    model: Tokenizer
    dataset: Dataset
    split: str
    device: str
    rows: Sequence[Measurement]
    commonest: Sequence[Sequence[int]]

    @property
    def images(self) -> ImageSet:
        """The images of the split."""
        images: ImageSet = getattr(self.dataset, self.split)
        return images
