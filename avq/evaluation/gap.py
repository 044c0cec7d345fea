"""The gap between test and training images: MAE on test images minus MAE on as many training images."""

from __future__ import annotations

import math

import torch

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.evaluation.passed import Passed
from avq.metrics.error import MeanAbsoluteError
from avq.metrics.measurement import Measurement, measured, protocol_id


def measure(passed: Passed) -> list[Measurement]:
    """`mae-gap` of test images; nothing for other splits."""
    if passed.split != "test":
        return []
    train, test = passed.dataset.train, next(row for row in passed.rows if row.metric == "mae")
    assert test.value is not None
    assert test.n is not None
    metric = MeanAbsoluteError()
    images = train.images[: test.n]
    for batch in torch.split(images, images_within(EVALUATION_PIXELS, images)):
        original = to_model(batch, passed.device)
        metric.update(original, passed.model(original.clone()).images.float(), [])
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
