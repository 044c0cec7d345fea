"""Looking at attention: what every layer does on a split, and where single pixels of one image look.

Both take rows of W, some at a time; the matrix of all pixels by all pixels is never built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from avq.metrics.attention import DISTANCE, ENTROPY, GAIN, row_spread
from avq.models.tokenizer import Attention, Tokenizer

IMAGES = 256  # whose rows are looked at: the spread between images is small beside that between seeds
_WEIGHTS = 2**32  # looked at a level; from 128x128 latents on, that is of fewer images
_TILE = 2**22  # weights at once: 16 MiB


def relative_gain(layer: Attention, x: Tensor) -> Tensor:
    """|W x| / |x| of each image `[B]`: what the layer adds to its residual base `[B, C, H, W]`, over that base."""
    base, update = layer.parts(x)
    gain: Tensor = update.flatten(1).norm(dim=1) / base.flatten(1).norm(dim=1)
    return gain


class AttentionWatch:
    """Collects gain, distance and entropy a level from every attention layer while the model runs.

    The gain is of every image; distance and entropy are of the first 256 that it sees (fewer, where latents have
    more than 4,096 pixels), each over all pixels.
    """

    def __init__(self, model: Tokenizer) -> None:
        self.layers = [level.attention for level in model.find_levels()]
        self.levels = len(model.codebook_sizes)
        self.seen = [0] * len(self.layers)
        self.values: dict[str, dict[int, Tensor]] = {}
        self.hooks: list[Any] = []

    def __enter__(self) -> AttentionWatch:
        for level, layer in enumerate(self.layers):
            if layer is not None:
                self.hooks.append(layer.register_forward_hook(self._record(level)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def take(self) -> dict[str, Tensor]:
        """`attention_gain` and so on `[B, levels]` of the last batch, NaN where there is no value; else nothing."""
        extras = {}
        for name, by_level in self.values.items():
            empty = torch.full_like(next(iter(by_level.values())), float("nan"))
            columns = [by_level.get(level, empty) for level in range(self.levels)]
            extras[name.replace("-", "_")] = torch.stack(columns, 1)
        return extras

    def _record(self, level: int) -> Callable[[Attention, tuple[Tensor], Tensor], None]:
        def hook(layer: Attention, inputs: tuple[Tensor], output: Tensor) -> None:
            (x,) = inputs
            self.values.setdefault(GAIN, {})[level] = relative_gain(layer, x)
            pixels = x.shape[2] * x.shape[3]
            wanted = max(1, min(IMAGES, _WEIGHTS // pixels**2)) - self.seen[level]
            spread = torch.full((2, len(x)), float("nan"), device=x.device)
            if wanted > 0:
                spread[:, :wanted] = image_spread(layer, x[:wanted])
            self.seen[level] += len(x)
            for name, values in zip((DISTANCE, ENTROPY), spread, strict=True):
                self.values.setdefault(name, {})[level] = values

        return hook


@torch.no_grad()
def image_spread(layer: Attention, x: Tensor) -> Tensor:
    """Distance and entropy (`row_spread`) an image, mean over its pixels and heads: float32 `[2, B]` of `[B, C, H, W]`.

    Rows are taken so many at a time that their weights fill 16 MiB, or one by one.
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
    """Where one latent pixel looks.

    Attributes:
        level: 1 = bottom.
        place: the pixel's row and column in the latent.
        shares: its row of W, normalised to sum 1, mean over heads, `[h, w]`.
        gain: norm of what the row adds to the pixel over the pixel's own: how much the look matters.
        distance: mean distance looked at, as a share of the latent's longer side; NaN for a single pixel.
        entropy: of the row, as a share of ln N; NaN for a single pixel.
    """

    level: int
    place: tuple[int, int]
    shares: Tensor
    gain: float
    distance: float
    entropy: float


@torch.no_grad()
def look(model: Tokenizer, image: Tensor, places: list[tuple[float, float]]) -> list[list[Look]]:
    """Where the latent pixels at some places of an image look.

    Args:
        model: in eval mode.
        image: float `[1, 3, H, W]` in [-1, 1].
        places: positions as shares of height and width, each in [0, 1).

    Returns:
        For each place one `Look` a level that has attention, bottom level first.
    """
    taken: dict[int, Tensor] = {}

    def take(level: int) -> Callable[[object, tuple[Tensor], object], None]:
        return lambda _layer, inputs, _output: taken.update({level: inputs[0]})

    layers = {
        number: level.attention for number, level in enumerate(model.find_levels()) if level.attention is not None
    }
    hooks = [layer.register_forward_hook(take(level)) for level, layer in layers.items()]
    try:
        model.encode(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [[_look(layer, taken[level], level + 1, place) for level, layer in layers.items()] for place in places]


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
