"""Measuring a trained model on one split."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model, to_uint8
from avq.data.sources import Dataset, ImageSet
from avq.metrics.evaluator import Evaluator, default_metrics
from avq.metrics.measurement import Measurement
from avq.models.attention import ResidualPixelAttention
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
    on_images: Callable[[int], None] | None = None,
) -> Evaluation:
    """All metrics of a model on a split, in float32 whatever it was trained in.

    Args:
        model: a variant; it is put into eval mode on `device`.
        dataset: the images.
        split: "train", "validation" or "test".
        device: where to compute.
        on_images: called with the number of images done.
    """
    images: ImageSet = getattr(dataset, split)
    model = model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    metrics = default_metrics(model.num_codes, model.decoder_levels, dataset.image_size)
    evaluator = Evaluator(metrics, images.fingerprint)
    with _Gains(model) as gains:
        size = images_within(EVALUATION_PIXELS, images.images)
        for start in range(0, len(images.images), size):
            batch = to_model(images.images[start : start + size], device)
            result = model(batch)
            extras = gains.take()
            if images.second_eye is not None:
                extras["second_eye"] = images.second_eye[start : start + size]
            evaluator.update(batch, result.images.float(), result.codes, **extras)
            if on_images:
                on_images(start + len(batch))
    return Evaluation(evaluator.compute(), evaluator.per_image())


@torch.no_grad()
def sample_reconstructions(
    model: Tokenizer, dataset: Dataset, count: int = 8, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The first test images and their reconstructions, both uint8 `[count, H, W, 3]`."""
    original = dataset.test.images[:count]
    result = model.to(device).eval()(to_model(original, device))
    return original, to_uint8(result.images.float()).cpu()


class _Gains:
    """Collects |W x| / |base| an image from every attention layer while the model runs."""

    def __init__(self, model: Tokenizer) -> None:
        self.layers = [
            layer if isinstance(layer, ResidualPixelAttention) else None for layer in getattr(model, "attentions", [])
        ]
        self.levels = len(model.num_codes)
        self.values: dict[int, Tensor] = {}
        self.hooks: list[Any] = []

    def __enter__(self) -> _Gains:
        for level, layer in enumerate(self.layers):
            if layer is not None:
                self.hooks.append(layer.register_forward_hook(self._record(level)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def take(self) -> dict[str, Tensor]:
        """`attention_gain` `[B, levels]` of the last batch, NaN where a level has no attention; else nothing."""
        if not self.values:
            return {}
        some = next(iter(self.values.values()))
        empty = torch.full_like(some, float("nan"))
        return {"attention_gain": torch.stack([self.values.get(level, empty) for level in range(self.levels)], 1)}

    def _record(self, level: int) -> Callable[[ResidualPixelAttention, tuple[Tensor], Tensor], None]:
        def hook(layer: ResidualPixelAttention, inputs: tuple[Tensor], output: Tensor) -> None:
            base, update = layer.parts(inputs[0])
            self.values[level] = update.flatten(1).norm(dim=1) / base.flatten(1).norm(dim=1)

        return hook
