"""What attention does: in every layer on a split, and for single pixels of one image.

Both take some rows of W at a time; the matrix of all pixels by all pixels is never built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from avq.metrics.attention import DISTANCE, ENTROPY, GAIN, row_spread
from avq.models.asking import asks
from avq.models.tokenizer import Attention, Tokenizer

IMAGES = 256  # whose rows are measured: the spread between images is small beside that between seeds
_WEIGHTS = 2**32  # measured per level; from 128x128 latents on, these are of fewer images
_TILE = 2**22  # weights at once: 16 MiB


def relative_gain(layer: Attention, x: Tensor) -> Tensor:
    """|W x| / |x| of each image `[B]`: what the layer adds to its residual base `[B, C, H, W]`, over that base."""
    base, update = layer.parts(x)
    gain: Tensor = update.flatten(1).norm(dim=1) / base.flatten(1).norm(dim=1)
    return gain


class AttentionWatch(ExitStack):
    """Collects gain, distance and entropy per level from every attention layer while the model runs, until closed.

    The gain is of every image; distance and entropy are of the first 256 that it sees (fewer, where latents have
    more than 4,096 pixels), each over all pixels.
    """

    def __init__(self, model: Tokenizer) -> None:
        super().__init__()
        layers = [level.attention for level in model.find_levels()]
        self.levels = len(layers)
        self.seen = [0] * len(layers)
        self.values: dict[str, dict[int, Tensor]] = {}
        for level, layer in enumerate(layers):
            if layer is not None:
                self.callback(layer.register_forward_hook(self._record(level)).remove)

    def take(self) -> dict[str, Tensor]:
        """`attention_gain` and so on `[B, levels]` of the last batch, NaN where a value is missing."""
        extras = {}
        for name, by_level in self.values.items():
            empty = torch.full_like(next(iter(by_level.values())), math.nan)
            columns = [by_level.get(level, empty) for level in range(self.levels)]
            extras[name.replace("-", "_")] = torch.stack(columns, 1)
        return extras

    def _record(self, level: int) -> Callable[[Attention, tuple[Tensor], Tensor], None]:
        def hook(layer: Attention, inputs: tuple[Tensor], output: Tensor) -> None:
            (x,) = inputs
            wanted = max(1, min(IMAGES, _WEIGHTS // x[0, 0].numel() ** 2)) - self.seen[level]
            spread = torch.full((2, len(x)), math.nan, device=x.device)
            if wanted > 0:
                spread[:, :wanted] = image_spread(layer, x[:wanted])
            self.seen[level] += len(x)
            for name, values in zip((GAIN, DISTANCE, ENTROPY), (relative_gain(layer, x), *spread), strict=True):
                self.values.setdefault(name, {})[level] = values

        return hook


@torch.no_grad()
def image_spread(layer: Attention, x: Tensor) -> Tensor:
    """Distance and entropy (`row_spread`) per image, mean over pixels and heads: float32 `[2, B]` of `[B, C, H, W]`.

    As many rows at a time as have 16 MiB of weights, or one by one.
    """
    size = (x.shape[2], x.shape[3])
    pixels = size[0] * size[1]
    sums = torch.zeros(2, len(x), device=x.device)
    tile = max(1, _TILE // (pixels * len(x) * layer.heads))
    for rows in torch.split(torch.arange(pixels, device=x.device), tile):
        spread = row_spread(layer.log_weights(x, rows), rows, size)
        sums += torch.stack([part.sum((1, 2)) for part in spread])
    return sums / (pixels * layer.heads)


class Look(NamedTuple):
    """Where one latent pixel attends.

    Attributes:
        level: 1 = bottom.
        place: the pixel's row and column in the latent.
        shares: its row of W, normalised to sum 1, mean over heads, `[h, w]`.
        gain: norm of what the row adds to the pixel over the pixel's own.
        distance: mean distance, as a share of the latent's longer side; NaN for a single pixel.
        entropy: of the row, as a share of ln N; NaN for a single pixel.
    """

    level: int
    place: tuple[int, int]
    shares: Tensor
    gain: float
    distance: float
    entropy: float


@torch.no_grad()
@asks
def look(model: Tokenizer, image: Tensor, places: list[tuple[float, float]]) -> list[list[Look]]:
    """Where the latent pixels at some places of an image attend.

    Args:
        model: asked in eval mode.
        image: float `[1, 3, H, W]` in [-1, 1].
        places: positions as shares of height and width, each in [0, 1).

    Returns:
        For each place one `Look` per level with attention, bottom level first.
    """
    taken: dict[Attention, Tensor] = {}
    layers = {number: level.attention for number, level in enumerate(model.find_levels(), 1) if level.attention}
    with ExitStack() as hooks:
        for layer in layers.values():
            hook = layer.register_forward_hook(lambda layer, inputs, _output: taken.update({layer: inputs[0]}))
            hooks.callback(hook.remove)
        model.encode(image)
    return [[_look(layer, taken[layer], level, place) for level, layer in layers.items()] for place in places]


def _look(layer: Attention, x: Tensor, level: int, place: tuple[float, float]) -> Look:
    height, width = size = (x.shape[2], x.shape[3])
    down, across = int(place[0] * height), int(place[1] * width)
    pixel = down * width + across
    rows = torch.tensor([pixel], device=x.device)
    log_weights = layer.log_weights(x, rows)
    base, update = layer.row(x, pixel)
    distance, entropy = (float(part.mean()) for part in row_spread(log_weights, rows, size))
    gain = float(update.norm() / base.norm())
    shares = torch.softmax(log_weights[0, :, 0], -1).mean(0).view(size)
    return Look(level, (down, across), shares, gain, distance, entropy)
