"""The gap between test and training images: MAE on test images minus MAE on the first 2,048 training images."""

from __future__ import annotations

import math

import torch

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.evaluation.passed import FIRST, Passed
from avq.metrics.error import MeanAbsoluteError
from avq.metrics.measurement import Measurement, measured, protocol_id
from avq.training.precision import autocast


def measure(passed: Passed) -> list[Measurement]:
    """`mae-gap` of test images; nothing for other splits."""
    if passed.split != "test":
        return []
    train, test = passed.dataset.train, next(row for row in passed.rows if row.metric == "mae")
    assert test.value is not None
    metric = MeanAbsoluteError()
    images = train.images[:FIRST]
    for batch in torch.split(images, images_within(EVALUATION_PIXELS, images)):
        original = to_model(batch, passed.device)
        with autocast(passed.precision, passed.device):
            rebuilt = passed.model(original.clone()).images.float()
        metric.update(original, rebuilt, [])
    seen = metric.compute()[0]
    assert seen.value is not None
    spread = math.hypot(test.stderr or math.nan, seen.stderr or math.nan)
    gap = measured(
        "mae-gap",
        test.value - seen.value,
        stderr=None if math.isnan(spread) else spread,
        n=test.n,
        protocol=protocol_id("mae-gap", range="0-1", train=train.fingerprint, first=len(images)),
    )
    return [gap]
