"""Mistakes that leave the numbers plausible, found by comparing with what may have been meant: one list for all.

Reconstructions are checked alike whether files, arrays or a model made them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
from avq.models.tokenizer import Tokenizer

_CLEARLY = 0.9  # the error falls below this share of its value with red and blue swapped
_NEIGHBOUR = 0.98
_FAR = 0.5  # the error falls below this share of its value under another reading
_TURNED = 0.01  # share of images from which on other turns are no chance
_LEVEL = 1 / 255
_SAMPLE = 256  # images that a model is checked on
_SAME = 1e-3  # mean difference up to which two reconstructions are one, in [0, 1]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def _by_imagenet(images: Tensor) -> Tensor:
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return ((images - mean) / std).clamp(0, 1)


CUT = "values in [-1, 1] were cut to [0, 1]"
HALF = "values in [0, 1] were read as [-1, 1]"
_READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    CUT: lambda images: (2 * images - 1).clamp(0, 1),
    HALF: lambda images: (images + 1) / 2,
    "ImageNet's mean and deviation were not undone": _by_imagenet,
    "light and dark are exchanged": lambda images: 1 - images,
}
_TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "turned by 90 degrees": lambda images: images.rot90(1, (2, 3)),
    "turned by 180 degrees": lambda images: images.rot90(2, (2, 3)),
    "turned by 270 degrees": lambda images: images.rot90(3, (2, 3)),
    "mirrored": lambda images: images.flip(3),
    "turned upside down": lambda images: images.flip(2),
    "mirrored about a diagonal": lambda images: images.transpose(2, 3),
    "mirrored about the other diagonal": lambda images: images.rot90(2, (2, 3)).transpose(2, 3),
}


class SanityChecks:
    """Mean absolute errors of each pair as it is, and as it would be without each mistake."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._turned: Counter[str] = Counter()
        self._darkest, self._brightest, self._images = 1.0, 0.0, 0

    def add(self, reference: Tensor, reconstruction: Tensor) -> None:
        """Take a batch, both float `[B, 3, H, W]` around [-1, 1]."""
        x, y = (((images.float() + 1) / 2).clamp(0, 1) for images in (reference, reconstruction))
        own = _errors(x, y)
        sums = {"all": own, "swapped": _errors(x, y.flip(1))}
        if len(x) > 1:  # a batch of one has no neighbour
            sums |= {"own": own, "shifted": _errors(x, y.roll(1, 0))}
            sums |= {"own contrast": _contrast(y - x), "shifted contrast": _contrast(y.roll(1, 0) - x)}
        for name, read in _READINGS.items():
            sums |= {f"reconstructions: {name}": _errors(read(x), y), f"originals: {name}": _errors(read(y), x)}
        for name, images in (("reconstructions", y), ("originals", x), ("difference", y - x)):
            sums[name] = _contrast(images)
        self._sums.update({name: values.double().sum().item() for name, values in sums.items()})
        for name, turn in _TURNS.items():
            if (turned := turn(y)).shape == x.shape:
                self._turned[name] += int((_errors(x, turned) < _FAR * own).sum())
        if len(x):
            self._darkest = min(self._darkest, y.min().item())
            self._brightest = max(self._brightest, y.max().item())
        self._images += len(x)

    def misread(self) -> tuple[str, str, float] | None:
        """Whose values ("originals" or "reconstructions") were misread, how, and the MAE that this leaves.

        The reading must explain them far better than the error itself, than flat images and than a shift of brightness
        do, as those of a bad model may lie near one of these.
        """
        shares = {}
        for side, name in product(("reconstructions", "originals"), _READINGS):
            most = min(self._sums["all"], self._sums[side], self._sums["difference"])
            if (left := self._sums[f"{side}: {name}"]) < _FAR * most:
                shares[left / most] = side, name, left / self._images
        return shares[min(shares)] if shares else None

    def notes(self, rate: float | None = None) -> list[str]:
        """One line per suspected mistake; `rate` is the codes' in bits per pixel, where it is known."""
        if not self._images:
            return []
        error, swapped, shifted = (self._sums[name] / self._images for name in ("all", "swapped", "shifted"))
        (turn, turned), *_ = self._turned.most_common(1) or [("", 0)]
        found = []
        if misread := self.misread():
            side, how, left = misread
            found.append(
                f"{side} look as if {how} (MAE {error:.4f}, beside {left:.4f} under that reading): undo the "
                "normalisation first, so that values are as displayed (float arrays: --range; models: image_range)"
            )
        elif turned and turned >= _TURNED * self._images:
            found.append(
                f"{turned:,} of {self._images:,} reconstructions are far nearer to their originals when {turn}: did "
                "one side lose an EXIF orientation, or keep a flip? Save originals as the model saw them"
            )
        elif swapped < _CLEARLY * error:
            found.append(
                "reconstructions are nearer to their originals with red and blue swapped "
                f"(MAE {swapped:.4f} against {error:.4f}): were they saved as BGR?"
            )
        elif all(self._sums[f"own{of}"] > _NEIGHBOUR * self._sums[f"shifted{of}"] > 0 for of in ("", " contrast")):
            found.append(
                "reconstructions are no nearer to their own originals than to their neighbours' "
                f"(MAE {shifted:.4f} against {error:.4f}): is their order the same, or has the model learned nothing?"
            )
        if not error:
            found.append(
                "every reconstruction equals its original value for value: is this the folder you mean, or does the "
                "decoder see the image?"
            )
        elif error < _LEVEL and rate is not None and rate < 3:  # less than a bit a value
            found.append(
                f"MAE {error:.4f} is less than one of 255 levels, which {rate:.3g} bits per pixel cannot say of most "
                "images: does the decoder see more than the codes?"
            )
        if self._brightest - self._darkest < 0.01:
            cast = ", like floats in [0, 1] that were cast to bytes" if self._brightest < 0.01 else ""
            found.append(f"all reconstructions are of one colour{cast}")
        return found


def _contrast(images: Tensor) -> Tensor:
    return _errors(images, images.mean((2, 3), keepdim=True))


def _errors(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean((1, 2, 3))


@torch.no_grad()
def check_model(model: Tokenizer, images: Tensor, device: str, rate: float | None) -> list[str]:
    """What is suspicious about a model's reconstructions, a line each, from a sample of the images.

    Its codes, copied as plain integers, must decode to the same images in another order, and after other images.

    Args:
        model: in eval mode, on `device`.
        images: uint8 `[N, H, W, 3]`; the first 256 are looked at.
        device: where the model is.
        rate: in bits per pixel, where it is known.
    """
    checks, apart, images = SanityChecks(), 0.0, images[:_SAMPLE]
    for part in torch.split(images, images_within(EVALUATION_PIXELS, images)):
        batch = to_model(part, device)
        result = model(batch.clone())
        checks.add(batch, result.images)
        if result.codes:
            codes = [torch.tensor(level.flip(0).tolist(), device=device) for level in result.codes]
            model.encode(-batch)
            alone = model.decode(codes).flip(0)
            difference = alone.float().clamp(-1, 1) - result.images.float().clamp(-1, 1)
            apart += difference.abs().mean().item() / 2 * len(batch) / len(images)
    found = checks.notes(rate)
    if apart > _SAME:
        found.append(
            f"its codes alone decode to other images (mean difference {apart:.4f}): the decoder sees more than the "
            "codes, or is random, so that the figures are not those of the codes"
        )
    return found
