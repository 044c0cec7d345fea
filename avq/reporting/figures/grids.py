"""Pictures of images: originals, what every row makes of them, and where it errs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from avq.errors import AvqError
from avq.reporting.figures.style import INK, QUIET, Picture, broken, drawing

Images = NDArray[np.uint8]
_GAP, _MARGIN, _DPI = 6, 0.15, 100
_ERROR_PIXELS = 960  # about so wide are all images of a line of `error_grid`


def reconstruction_grid(
    original: Images, rows: Mapping[str, Images], path: Path, notes: Mapping[str, str] | None = None
) -> Path:
    """Save a grid: the originals on top, below them one labelled line a variant.

    Args:
        original: uint8 `[N, H, W, 3]`.
        rows: by label, reconstructions of the same shape, in the order to show.
        path: the PNG to write.
        notes: by label, a short second line ("MAE 0.0466"); optional.

    Raises:
        AvqError: a row has another shape than the originals.
    """
    _check(original, rows)
    # Whole screen pixels an image pixel, so that small images stay crisp and none is resampled.
    zoom = max(1, round(96 / max(original.shape[1:3])))
    return _sheet({"original": original, **rows}, notes or {}, zoom, "reconstructions").save(path)


def error_grid(original: Images, rows: Mapping[str, Images], notes: Mapping[str, str] | None = None) -> Picture:
    """Originals, and a line a variant: its reconstructions on the left, their absolute errors on the right.

    Errors are means over the three colours, on one scale for all rows, from white (none) to black (the 99.5th
    percentile of all errors, stated in the picture). Arguments and errors as `reconstruction_grid`.
    """
    _check(original, rows)
    errors = {
        row: np.abs(images.astype(np.float64) - original.astype(np.float64)).mean(axis=-1)
        for row, images in rows.items()
    }
    top = max(1.0, float(np.percentile(np.stack(list(errors.values())), 99.5))) if errors else 1.0
    shades = mpl.colormaps["magma_r"]
    blank = np.full_like(original, 255)
    lines = {"original": np.concatenate([original, blank])}
    for row, images in rows.items():
        heat = (shades(np.clip(errors[row] / top, 0, 1))[..., :3] * 255).round().astype(np.uint8)
        lines[row] = np.concatenate([images, heat])
    zoom = max(1, round(_ERROR_PIXELS / (2 * len(original) * original.shape[2])))
    scale = f"right: absolute error, white 0 to black {top / 255:.2f} or more"
    words = f"{len(original)} test images, their reconstructions by {', '.join(rows)}, and the absolute errors."
    return _sheet(lines, notes or {}, zoom, words, scale)


def _check(original: Images, rows: Mapping[str, Images]) -> None:
    for label, images in {"original": original, **rows}.items():
        if images.shape != original.shape or images.dtype != np.uint8:
            raise AvqError(f"picture: '{label}' is {images.dtype} {images.shape}, the originals {original.shape}")


def _sheet(lines: Mapping[str, Images], notes: Mapping[str, str], zoom: int, alt: str, caption: str = "") -> Picture:
    """Labelled lines of images, pixel for pixel; a caption stands in the right half of the first line."""
    count, height, width = next(iter(lines.values())).shape[:3]
    dpi = _DPI if not caption else 200
    longest = max(len(text) for label in lines for text in (*broken(label), notes.get(label, "")))
    label_width = 0.3 + 0.085 * longest
    tall, wide = height * zoom + _GAP, width * zoom + _GAP
    sheet = np.full((len(lines) * tall - _GAP, count * wide - _GAP, 3), 255, dtype=np.uint8)
    for i, images in enumerate(lines.values()):
        for j, image in enumerate(images):
            pixels = image.repeat(zoom, 0).repeat(zoom, 1)
            sheet[i * tall : i * tall + height * zoom, j * wide : j * wide + width * zoom] = pixels
    size = (label_width + sheet.shape[1] / dpi + _MARGIN, sheet.shape[0] / dpi + 2 * _MARGIN)
    with drawing(size[1], size[0], dpi, layout=None) as figure:
        figure.figimage(sheet, xo=round(label_width * dpi), yo=round(_MARGIN * dpi), origin="upper")
        for i, label in enumerate(lines):
            middle = 1 - (_MARGIN + (i * tall + height * zoom / 2) / dpi) / size[1]
            note = notes.get(label, "")
            texts = [*((text, 10.0, INK) for text in broken(label)), *([(note, 8.5, QUIET)] if note else [])]
            for k, (text, points, ink) in enumerate(texts):
                y = middle + (len(texts) - 1 - 2 * k) * 0.08 / size[1]
                figure.text(
                    (label_width - 0.12) / size[0], y, text, fontsize=points, color=ink, ha="right", va="center",
                    weight="bold" if i == 0 else "normal",
                )  # fmt: skip
        if caption:
            x = (label_width + (count // 2) * wide / dpi) / size[0]
            y = 1 - (_MARGIN + height * zoom / 2 / dpi) / size[1]
            figure.text(x, y, caption.replace(", ", ",\n").replace(": ", ":\n"), fontsize=9, va="center", color=QUIET)
    return Picture(figure, alt, colours=None)
