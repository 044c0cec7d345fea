"""Measuring a trained model on one split."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model, to_uint8
from avq.data.sources import Dataset, ImageSet
from avq.evaluation.attention import AttentionWatch
from avq.evaluation.passed import FIRST, Passed
from avq.metrics.codebook import CodebookUse
from avq.metrics.evaluator import Evaluator
from avq.metrics.measurement import Measurement
from avq.metrics.measures import BASE, measured_after, measures
from avq.metrics.subject import ReferenceSet, Subject
from avq.models.tokenizer import Tokenizer
from avq.registry import load
from avq.training.precision import autocast, evaluation_precision

if TYPE_CHECKING:
    import pandas as pd


class Evaluation(NamedTuple):
    """The measurements over a split, and a frame with one row per image."""

    measurements: list[Measurement]
    per_image: pd.DataFrame


@torch.no_grad()
def evaluate(
    model: Tokenizer,
    dataset: Dataset,
    split: str = "test",
    *,
    device: str = "cpu",
    allow_small: bool = False,
    precision: str = "auto",
    only: Collection[str] | None = None,
    on_images: Callable[[int], None] | None = None,
) -> Evaluation:
    """All metrics of a model on a split.

    The model sees the images once, in batches; numbers, features and codes of an image stay. What needs the model
    again is measured afterwards, on samples.

    Args:
        model: a variant; it is put into eval mode on `device`.
        dataset: the images.
        split: "train", "validation" or "test".
        device: where to compute.
        allow_small: report a Fréchet distance of fewer images than it needs, and mark it.
        precision: of the model's passes: "float32" or "bfloat16" (autocast); "auto" is float32 up to 64 px, and above
            that bfloat16 where the hardware computes in it. Protocol ids state bfloat16.
        only: what to measure, by the names of `measured_by` and `measured_after`; by default everything.
        on_images: called with the number of images done.
    """
    images: ImageSet = getattr(dataset, split)
    model = model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    reference = ReferenceSet(images.fingerprint, len(images), dataset.card.shows_faces)
    precision = evaluation_precision(precision, dataset.image_size, device)
    after = {name: metrics for name, metrics in measured_after().items() if only is None or name in only}
    first = None if only is None else {*only, *(BASE if after else ())}
    subject = Subject(model.codebook_sizes, model.decoder_levels, dataset.image_size, reference, allow_small)
    objects = measures(subject, first)
    evaluator = Evaluator(objects, images.fingerprint, {} if precision == "float32" else {"precision": precision})
    size = images_within(EVALUATION_PIXELS, images.images)
    codes: list[list[Tensor]] = [[] for _ in model.codebook_sizes]
    evaluator.prepare(lambda: (to_model(batch, device) for batch in torch.split(images.images, size)))
    with AttentionWatch(model) as attention:
        for start in range(0, len(images.images), size):
            batch = to_model(images.images[start : start + size], device)
            with autocast(precision, device):
                result = model(batch)
            extras = attention.take()
            if images.second_eye is not None:
                extras["second_eye"] = images.second_eye[start : start + size]
            evaluator.update(batch, result.images.float(), result.codes, **extras)
            if start < FIRST:
                for level, of_batch in zip(codes, result.codes, strict=True):
                    level.append(of_batch.cpu())
            if on_images:
                on_images(start + len(batch))
    rows = evaluator.compute()
    if after:
        commonest = next(one for one in objects if isinstance(one, CodebookUse)).most_frequent()
        values = {name: values for metric in objects for name, values in metric.per_image().items()}
        passed = Passed(
            model, dataset, split, device, precision, rows, values, [torch.cat(level) for level in codes], commonest
        )
        for name, metrics in after.items():
            rows = [*rows, *map(evaluator.named, load(name, f"metric '{metrics[0].name}'")(passed))]
    return Evaluation(rows, evaluator.per_image())


@torch.no_grad()
def sample_reconstructions(
    model: Tokenizer, dataset: Dataset, count: int = 8, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The first test images and their reconstructions, both uint8 `[count, H, W, 3]`."""
    original = dataset.test.images[:count]
    result = model.to(device).eval()(to_model(original, device))
    return original, to_uint8(result.images.float()).cpu()
