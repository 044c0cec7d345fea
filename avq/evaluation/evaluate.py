"""Measuring a trained model on one split."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from avq.data.cards import Card
from avq.data.loader import EVALUATION_PIXELS, images_within, to_model, to_uint8
from avq.data.sources import Dataset, ImageSet
from avq.errors import AvqError
from avq.evaluation.attention import AttentionWatch
from avq.evaluation.passed import Passed
from avq.metrics.codebook import CodebookUse
from avq.metrics.evaluator import Evaluator
from avq.metrics.measurement import Measurement
from avq.metrics.measures import BASE, measured_after, measures
from avq.metrics.subject import ReferenceSet, Subject
from avq.models.asking import asks
from avq.models.tokenizer import Tokenizer
from avq.registry import load

if TYPE_CHECKING:
    import pandas as pd


_SAME = 1e-6  # mean difference of images in [-1, 1]: beyond any table's digits; a GPU may sum in another order


class Evaluation(NamedTuple):
    """The measurements over a split, and a frame with one row per image."""

    measurements: list[Measurement]
    per_image: pd.DataFrame


@torch.no_grad()
@asks
def evaluate(
    model: Tokenizer,
    dataset: Dataset,
    split: str = "test",
    *,
    device: str = "cpu",
    allow_small: bool = False,
    only: Collection[str] | None = None,
    on_images: Callable[[int], None] | None = None,
) -> Evaluation:
    """All metrics of a model on a split, in float32 regardless of the training precision.

    Images are processed in batches; only numbers and features per image stay. What needs the model itself is measured
    afterwards.

    Args:
        model: a variant; it is moved to `device`. Every torch module in it, also in plain objects that it wraps, is in
            eval mode meanwhile.
        dataset: the images.
        split: "train", "validation" or "test".
        device: where to compute.
        allow_small: report a Fréchet distance of fewer images than it needs, and mark it.
        only: what to measure, by the names of `measured_by` and `measured_after`; by default everything.
        on_images: called with the number of images done.

    Raises:
        AvqError: the first batch is reconstructed otherwise at the end than at the beginning.
    """
    images: ImageSet = getattr(dataset, split)
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    reference = ReferenceSet(images.fingerprint, len(images), shows_faces(dataset.card))
    after = {name: metrics for name, metrics in measured_after().items() if only is None or name in only}
    first = None if only is None else {*only, *(BASE if after else ())}
    subject = Subject(model.codebook_sizes, model.decoder_levels, dataset.image_size, reference, allow_small)
    objects = measures(subject, first)
    evaluator = Evaluator(objects, images.fingerprint)
    size = images_within(EVALUATION_PIXELS, images.images)
    evaluator.prepare(lambda: (to_model(batch, device) for batch in torch.split(images.images, size)))
    first_batch = torch.empty(0)
    with AttentionWatch(model) as attention:
        for start in range(0, len(images.images), size):
            batch = to_model(images.images[start : start + size], device)
            result = model(batch.clone())  # so that no model can change the reference
            first_batch = first_batch if start else result.images.clone()
            extras = attention.take()
            if images.second_eye is not None:
                extras["second_eye"] = images.second_eye[start : start + size]
            evaluator.update(batch, result.images.float(), result.codes, **extras)
            if on_images:
                on_images(start + len(batch))
    rows = evaluator.compute()
    if after:
        commonest = next(one for one in objects if isinstance(one, CodebookUse)).most_frequent()
        passed = Passed(model, dataset, split, device, rows, commonest)
        for name, metrics in after.items():
            rows = [*rows, *map(evaluator.named, load(name, f"metric '{metrics[0].name}'")(passed))]
    again = model(to_model(images.images[:size], device)).images
    changed = (again.float() - first_batch.float()).abs().mean().item()
    if changed > _SAME:
        raise AvqError(
            f"{type(model).__name__} reconstructs the first images otherwise after the evaluation than before (by "
            f"{changed:.2g} of 2 on average): it learns or draws random numbers while it is measured. Numbers that "
            "nobody can repeat are not reported; fix its seed in encode and decode, or what it learns."
        )
    return Evaluation(rows, evaluator.per_image())


def shows_faces(card: Card) -> bool:
    """Whether a dataset's pictures are faces: synthetic ones, or its card says so."""
    return card.kind == "synthetic-faces" or card.options.get("subject") == "faces"


@torch.no_grad()
@asks
def sample_reconstructions(
    model: Tokenizer, dataset: Dataset, count: int = 8, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The first test images and their reconstructions, both uint8 `[count, H, W, 3]`."""
    original = dataset.test.images[:count]
    result = model.to(device)(to_model(original, device))
    return original, to_uint8(result.images.float()).cpu()
