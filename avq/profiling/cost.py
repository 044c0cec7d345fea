"""What a variant costs: counted from its structure, or timed in a process that has the machine to itself."""

from __future__ import annotations

from typing import Any, cast

import torch

from avq.data.loader import to_model
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.models.asking import evaluating
from avq.models.recipe import Recipe, build
from avq.models.tokenizer import Tokenizer
from avq.profiling.memory import peak_memory
from avq.profiling.meters import macs, parameter_counts, positive_copy, receptive_field, throughput
from avq.training.config import TrainConfig
from avq.training.precision import resolve_precision
from avq.training.step import TrainStep


def deterministic_costs(model: Tokenizer, image_size: int) -> list[Measurement]:
    """Parameter counts and multiply-accumulates per image; receptive field, latent size and attention matrix per level.

    Args:
        model: a variant, left as it was.
        image_size: side of the images in pixels.
    """
    rows = parameter_counts(model, model.codebook_values())
    device = next(model.buffers(), torch.zeros(())).device
    image = torch.zeros(1, 3, image_size, image_size, device=device)
    with evaluating(model.modules()):
        count = macs(lambda: model(image))
    sizes = model.latent_sizes(image_size)
    rows.append(measured("macs", count, protocol=protocol_id("macs", size=image_size)))
    return rows + _receptive_fields(model, image_size) + _latents(model, sizes, image_size)


def _latents(model: Tokenizer, sizes: list[tuple[int, int]], image_size: int) -> list[Measurement]:
    """Latent sizes, and the attention matrix of every level that forms one (`uniform` has none)."""
    rows = []
    layers = [level.attention for level in model.find_levels()] or [None] * len(sizes)
    attention = protocol_id("attention-memory-analytic", size=image_size, dtype="float32", batch=1)
    for level, (size, layer) in enumerate(zip(sizes, layers, strict=True), start=1):
        for name, side in zip(("latent-height", "latent-width"), size, strict=True):
            rows.append(measured(name, side, protocol=protocol_id(name, size=image_size), level=level))
        if layer is not None and layer.computed(size[0] * size[1], "cpu"):
            matrix = 4 * (size[0] * size[1]) ** 2  # N x N in float32; logits and gradients may come on top
            rows.append(measured("attention-memory-analytic", matrix, protocol=attention, level=level))
        else:
            why = "no attention between pixels at this level"
            rows.append(unavailable("attention-memory-analytic", why, protocol=attention, level=level))
    return rows


def _receptive_fields(model: Tokenizer, image_size: int) -> list[Measurement]:
    protocol = protocol_id("receptive-field", part="trunk")
    twin = cast(Tokenizer, positive_copy(model.narrowed()))
    if not twin.backbone(torch.zeros(1, 3, image_size, image_size, dtype=torch.float64)):
        return [unavailable("receptive-field", "this variant has no encoder backbone", protocol=protocol, level=1)]
    fields = receptive_field(twin.backbone, image_size)
    return [measured("receptive-field", side, protocol=protocol, level=level) for level, side in enumerate(fields, 1)]


def timed_costs(recipe: Recipe, training: TrainConfig, device: str = "cpu", repeats: int = 5) -> list[Measurement]:
    """Training and inference throughput and peak memory. Call it in a fresh process on an otherwise idle machine.

    Args:
        recipe: what the model is built from.
        training: batch size, losses and precision of the timed steps.
        device: where to compute.
        repeats: timed repeats; the median is reported.
    """
    model, image_size = build(recipe), recipe.image_size
    batch = torch.randint(256, (training.batch_size, image_size, image_size, 3), dtype=torch.uint8)
    conditions: dict[str, Any] = {
        "batch": training.batch_size,
        "size": image_size,
        "precision": resolve_precision(training.precision, device),
        "threads": torch.get_num_threads(),
        "device": torch.device(device).type,
    }
    rows = []
    if model.is_baseline:
        rows.append(unavailable("train-images-per-s", "a baseline is fitted, not trained"))
    else:
        step = TrainStep(model, training, device)
        last = training.steps - 1  # after the discriminator has started
        rows.append(throughput("train-images-per-s", lambda: step(batch, last), repeats, **conditions))
    model.to(device).eval()

    @torch.no_grad()
    def infer() -> None:
        model(to_model(batch, device))

    rows.append(throughput("inference-images-per-s", infer, repeats, **conditions | {"precision": "float32"}))
    attention = ", ".join(f"{kind} at {level}" for level, kind in model.attention_computed(image_size, device).items())
    reason = f"attention computed: {attention}" if attention else ""
    rows.append(
        measured("peak-memory", peak_memory(device), protocol=protocol_id("peak-memory", **conditions), reason=reason)
    )
    return rows
