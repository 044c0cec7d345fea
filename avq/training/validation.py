"""A validation step: how good the model is on validation images. No rank waits for another here."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.models.asking import asks
from avq.models.tokenizer import Tokenizer
from avq.training.precision import autocast


@torch.no_grad()
@asks
def validate(model: Tokenizer, images: Tensor, device: str, precision: str) -> dict[str, float]:
    """`validation-mae` in [0, 1] and `perplexity-<level>` over all uint8 images `[N, H, W, 3]`.

    The model is on the device; `precision` is that of training, "float32" or "bfloat16".
    """
    total = 0.0
    places = model.codes_per_position  # each of which is counted by itself
    counts = [torch.zeros(places * codes, dtype=torch.int64) for codes in model.codebook_sizes]
    for batch in torch.split(images, images_within(EVALUATION_PIXELS, images)):
        original = to_model(batch, device)
        with autocast(precision, device):
            result = model(original.clone())
        error = (result.images.float().clamp(-1, 1) - original).abs().mean((1, 2, 3)) / 2
        total += error.double().sum().item()
        for level, codes in enumerate(result.codes):
            apart = codes.reshape(-1, places) + torch.arange(places, device=codes.device) * model.codebook_sizes[level]
            counts[level] += torch.bincount(apart.flatten(), minlength=len(counts[level])).cpu()
    found = {"validation-mae": total / len(images)}
    for level, used in enumerate(counts, start=1):
        share = used[used > 0] * places / used.sum()
        found[f"perplexity-{level}"] = math.exp(-(share * share.log()).sum().item() / places)
    return found
