"""Level knock-out: what is lost when all codes of a level are replaced by its most frequent code.

It shows whether an upper level carries any information.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.evaluation.passed import FIRST, Passed
from avq.metrics.base import joined, mean_over_images, unit_images
from avq.metrics.measurement import Measurement, protocol_id, unavailable
from avq.metrics.perceptual import PerceptualDistance, find_perceptual, perceptual_protocol
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.tokenizer import Tokenizer
from avq.training.precision import autocast

if TYPE_CHECKING:
    from avq.metrics.base import FloatArray

_MAE, _PERCEPTUAL = "knockout-mae", "knockout-lpips-squeeze"
_OF = {_MAE: "mae", _PERCEPTUAL: "lpips-squeeze"}


@torch.no_grad()
def measure(passed: Passed) -> list[Measurement]:
    """`knockout-mae` and `knockout-lpips-squeeze` of every level, over the first 2,048 images.

    They are changes, paired by image, of what the pass measured. A level that the decoder sees is replaced in front of
    the decoder. One that it does not see acts through the levels below, which are then encoded anew from the replaced
    one; its rows say so.
    """
    distance = find_perceptual("squeeze", passed.dataset.image_size)
    images = passed.images.images[:FIRST]
    changes: dict[tuple[int, str], list[FloatArray]] = defaultdict(list)
    size = images_within(EVALUATION_PIXELS, images)
    for start in range(0, len(images), size):
        part = slice(start, min(start + size, len(images)))
        batch = to_model(images[part], passed.device)
        codes = [level[part].to(passed.device) for level in passed.codes]
        for level, code in enumerate(passed.commonest, 1):
            with autocast(passed.precision, passed.device):
                without = _without(passed.model, batch, codes, level, code)
            if without is not None:
                for name, lost in _errors(batch, without, distance).items():
                    changes[level, name].append(lost - passed.per_image[_OF[name]][part])
    levels = range(1, len(passed.commonest) + 1)
    return [_row(passed.model, name, level, changes[level, name], distance) for level in levels for name in _OF]


def _without(
    model: Tokenizer, batch: Tensor, codes: Sequence[Tensor], level: int, code: Sequence[int]
) -> Tensor | None:
    """The reconstruction without a level; None if it is unknown how that level's codes act."""
    if level in model.decoder_levels:
        replaced = [_all(part, code) if at == level else part.clone() for at, part in enumerate(codes, 1)]
        return model.decode(replaced)
    levels = model.find_levels()
    if not levels:
        return None

    def replace(layer: Quantizer, _inputs: object, output: Quantized) -> Quantized:
        same = _all(output.codes, code)
        return output._replace(latents=layer.decode(same), codes=same)

    with ExitStack() as hooks:
        hooks.callback(levels[level - 1].quantizer.register_forward_hook(replace).remove)
        images: Tensor = model(batch.clone()).images
    return images


def _all(codes: Tensor, code: Sequence[int]) -> Tensor:
    """Codes `[B, h, w]` or `[B, h, w, R]`, all replaced by the same one, or by the same R."""
    return torch.tensor(code if codes.ndim == 4 else code[0], device=codes.device).expand_as(codes).clone()


def _errors(reference: Tensor, rebuilt: Tensor, distance: PerceptualDistance | str) -> dict[str, FloatArray]:
    original, images = unit_images(reference, rebuilt.float(), _MAE)
    errors = {_MAE: (original - images).abs().flatten(1).mean(1)}
    if isinstance(distance, PerceptualDistance):
        errors[_PERCEPTUAL] = distance(original * 2 - 1, images * 2 - 1)
    return {name: values.cpu().numpy() for name, values in errors.items()}


def _row(
    model: Tokenizer, name: str, level: int, changes: list[FloatArray], distance: PerceptualDistance | str
) -> Measurement:
    conditions = {"at": "use", "first": FIRST}
    if name == _PERCEPTUAL:
        if isinstance(distance, str):
            return unavailable(name, distance, level=level)
        protocol = perceptual_protocol(name, distance, **conditions)
    else:
        protocol = protocol_id(name, range="0-1", **conditions)
    why_empty = "neither the decoder nor a known encoder sees it"
    row = mean_over_images(name, joined(changes), protocol, why_empty, level)
    if level in model.decoder_levels or not changes:
        return row
    return dataclasses.replace(row, reason="unseen by the decoder: the levels below were encoded anew")
