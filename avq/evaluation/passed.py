"""A model that has reconstructed all images of a split: what `measured_after` names is called with this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avq.data.sources import Dataset, ImageSet
from avq.metrics.measurement import Measurement
from avq.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.base import FloatArray

FIRST = 2048
"""Images of a sample, the first of a split: enough where differences are paired, or two means compared."""


@dataclass(frozen=True)
class Passed:
    """The state after the pass over a split.

    Attributes:
        model: in eval mode, on `device`.
        dataset: all images.
        split: the one that was reconstructed.
        device: where to compute.
        precision: that of the pass, "float32" or "bfloat16".
        rows: what was measured so far.
        per_image: the values of metrics with one number an image, by name.
        codes: of the first `FIRST` images and the rest of their last batch, per level, bottom first.
        commonest: what each of a level's R codes was most often over the split, bottom level first.
    """

    model: Tokenizer
    dataset: Dataset
    split: str
    device: str
    precision: str
    rows: Sequence[Measurement]
    per_image: Mapping[str, FloatArray]
    codes: Sequence[Tensor]
    commonest: Sequence[Sequence[int]]

    @property
    def images(self) -> ImageSet:
        """The images of the split."""
        images: ImageSet = getattr(self.dataset, self.split)
        return images
