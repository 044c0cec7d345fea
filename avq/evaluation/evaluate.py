"""Measuring a trained model on one split."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from avq.data.cards import Card
from avq.data.loader import EVALUATION_PIXELS, images_within, to_model, to_uint8
from avq.data.sources import Dataset, ImageSet
from avq.evaluation.attention import AttentionWatch
from avq.evaluation.knockout import knock_out_levels
from avq.metrics.codebook import CodebookUse
from avq.metrics.error import MeanAbsoluteError
from avq.metrics.evaluator import Evaluator
from avq.metrics.measurement import Measurement, measured, protocol_id
from avq.metrics.measures import ReferenceSet, Subject, measures
from avq.metrics.perceptual import find_perceptual
from avq.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    import pandas as pd


class Evaluation(NamedTuple):
    """The measurements over a split, and a frame with one row an image."""

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
    on_images: Callable[[int], None] | None = None,
) -> Evaluation:
    """All metrics of a model on a split, in float32 whatever it was trained in.

    Beside the metrics of every table: the knock-out of each level and, on test images, the gap to as many
    training images. Images pass in batches; only per-image numbers and features are kept.

    Args:
        model: a variant; it is put into eval mode on `device`.
        dataset: the images.
        split: "train", "validation" or "test".
        device: where to compute.
        allow_small: give a Fréchet distance of fewer images than it needs, and mark it.
        on_images: called with the number of images done.
    """
    images: ImageSet = getattr(dataset, split)
    model = model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    reference = ReferenceSet(images.fingerprint, len(images), shows_faces(dataset.card))
    metrics = measures(Subject(model.num_codes, model.decoder_levels, dataset.image_size, reference, allow_small))
    evaluator = Evaluator(metrics, images.fingerprint)
    size = images_within(EVALUATION_PIXELS, images.images)
    evaluator.prepare(lambda: (to_model(batch, device) for batch in torch.split(images.images, size)))
    with AttentionWatch(model) as attention:
        for start in range(0, len(images.images), size):
            batch = to_model(images.images[start : start + size], device)
            result = model(batch)
            extras = attention.take()
            if images.second_eye is not None:
                extras["second_eye"] = images.second_eye[start : start + size]
            evaluator.update(batch, result.images.float(), result.codes, **extras)
            if on_images:
                on_images(start + len(batch))
    rows = evaluator.compute()
    commonest = next(metric for metric in metrics if isinstance(metric, CodebookUse)).most_frequent()
    distance = find_perceptual("squeeze", dataset.image_size)
    beside = knock_out_levels(model, images.images, commonest, distance, device)
    if split == "test":
        beside.append(_gap(model, next(row for row in rows if row.metric == "mae"), dataset.train, device))
    return Evaluation([*rows, *map(evaluator.named, beside)], evaluator.per_image())


def shows_faces(card: Card) -> bool:
    """Whether a dataset's pictures are faces: its card says so, or they are drawn ones."""
    return card.kind == "synthetic-faces" or card.options.get("subject") == "faces"


def _gap(model: Tokenizer, test: Measurement, train: ImageSet, device: str) -> Measurement:
    """`mae-gap`: MAE on test images less that on as many training images, the first of their fixed order."""
    assert test.value is not None
    assert test.n is not None
    metric = MeanAbsoluteError()
    images = train.images[: test.n]
    for batch in torch.split(images, images_within(EVALUATION_PIXELS, images)):
        original = to_model(batch, device)
        metric.update(original, model(original).images.float(), [])
    seen = metric.compute()[0]
    assert seen.value is not None
    spread = math.hypot(test.stderr or math.nan, seen.stderr or math.nan)
    return measured(
        "mae-gap",
        test.value - seen.value,
        stderr=None if math.isnan(spread) else spread,
        n=test.n,
        protocol=protocol_id("mae-gap", range="0-1", train=train.fingerprint, first=len(images)),
    )


@torch.no_grad()
def sample_reconstructions(
    model: Tokenizer, dataset: Dataset, count: int = 8, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The first test images and their reconstructions, both uint8 `[count, H, W, 3]`."""
    original = dataset.test.images[:count]
    result = model.to(device).eval()(to_model(original, device))
    return original, to_uint8(result.images.float()).cpu()
