"""What pixels attend to, drawn over the image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from avq.reporting.figures.style import EVEN, INK, QUIET, drawing

if TYPE_CHECKING:
    from avq.evaluation.attention import Look

Images = NDArray[np.uint8]
_PANEL = 2.4  # inches, the longer side of an image
_LEAST_TOP = 2.0  # times the mean: an even row is half as strong as the full colour, so that it is seen to be even


def attention_picture(image: Images, looks: Sequence[tuple[str, tuple[int, int], Sequence[Look]]]) -> Image.Image:
    """A line a pixel: the image with the pixel marked, then, level by level, what it attends to.

    Weights are shown as multiples of their mean, on a scale of each panel's own from 0 (no colour) to its largest, but
    at least to twice the mean; the latent pixel that attends is framed.

    Args:
        image: uint8 `[H, W, 3]`, as the model saw it.
        looks: for each pixel its name, its column and row in `image`, and its looks (one a level, at least one).
    """
    levels = max(len(some) for _, _, some in looks)
    height, width = image.shape[:2]
    scale = _PANEL / max(height, width)
    size = ((levels + 1) * (width * scale + 0.25), len(looks) * (height * scale + 0.85))
    with drawing(size[1], size[0], dpi=150) as figure:
        axes = figure.subplots(len(looks), levels + 1, squeeze=False)
        for line, (name, spot, some) in zip(axes, looks, strict=True):
            _mark(line[0], image, name, spot)
            for panel, one in zip(line[1:], some, strict=True):
                _draw(panel, image, one)
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return Image.open(out).convert("RGB")


def _mark(axes: Axes, image: Images, name: str, spot: tuple[int, int]) -> None:
    _bare(axes, image)
    for width, color in ((3.2, "white"), (1.4, INK)):
        axes.plot(*spot, "+", color=color, markersize=11, markeredgewidth=width)
    axes.set_title(f"pixel {name}", fontsize=9.5)


def _draw(axes: Axes, image: Images, one: Look) -> None:
    times = one.shares.double().cpu().numpy() * one.shares.numel()
    top = max(_LEAST_TOP, float(times.max()))
    height, width = image.shape[:2]
    tall, wide = height / times.shape[0], width / times.shape[1]
    share = (times / top).repeat(round(tall), 0).repeat(round(wide), 1)[..., None]
    # A pale grey image, so that the colour alone speaks of weight, and dark things do not seem unattended
    pale = 0.6 + 0.4 * image.mean(-1, keepdims=True) / 255
    shade = mpl.colormaps["YlOrRd"](share[..., 0])[..., :3]
    mixed = pale * (1 - 0.85 * share + 0.85 * share * shade)
    _bare(axes, (mixed * 255).round().astype(np.uint8))
    down, across = one.place
    corner = (across * wide - 0.5, down * tall - 0.5)
    axes.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor="white", linewidth=2.6, clip_on=False))
    axes.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor=EVEN, linewidth=1.2, clip_on=False))
    axes.set_title(f"level {one.level}, {times.shape[1]}x{times.shape[0]}", fontsize=9.5)
    red = "full red" if times.max() >= top else f"full red: {top:.3g} x"
    words = f"peak {times.max():.3g} x the mean ({red})\ngain {one.gain:.2g}"
    axes.set_xlabel(words, fontsize=8.5, color=QUIET)


def _bare(axes: Axes, pixels: Images) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
