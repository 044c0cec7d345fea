"""The calls of whole variants that are measured as their latents grow."""

from __future__ import annotations

import torch

from avq.models.attention import use_implementation
from avq.models.config import AutoencoderConfig
from avq.models.recipe import Recipe, build
from avq.profiling.scaling import STRIDE, Made, Point
from avq.training.config import TrainConfig
from avq.training.step import TrainStep


def variant_call(point: Point, side: int, without_contents: bool) -> Made:
    """The call that is measured at a variant's point; args as `scaling.make_call`."""
    size = side * STRIDE
    model = build(Recipe(point.subject, size, dict(point.model)))
    if point.implementation:
        use_implementation(model, point.implementation)
    if without_contents:  # torch cannot move a model without contents, and need not
        model.to = lambda *_args, **_kwargs: model  # type: ignore[method-assign]
    if point.part == "training-step":
        config = TrainConfig(batch_size=point.batch_size, precision=point.precision)
        step = TrainStep(model, config, point.device, point.subject)
        batch = torch.zeros(point.batch_size, size, size, 3, dtype=torch.uint8)

        def train() -> None:
            step(batch, 0)

        return Made(train, lambda: None)
    images = torch.rand(point.batch_size, 3, size, size) * 2 - 1
    model.eval()

    @torch.no_grad()
    def forward() -> None:
        model(images)

    return Made(forward, lambda: None)


def variant_attention(config: AutoencoderConfig) -> str:
    """The similarity of a variant's attention; empty where it has none."""
    return config.similarity if config.attention == "rpa" else ""
