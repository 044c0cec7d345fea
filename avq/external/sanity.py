"""Mistakes that leave the numbers plausible: found by comparing with what may have been meant."""

from __future__ import annotations

from torch import Tensor

_CLEARLY = 0.9  # the error falls below this share of its value under the other reading
_NEIGHBOUR = 0.98


class SanityChecks:
    """Mean absolute errors of each pair as it is, of shifted pairs, and of pairs with red and blue swapped."""

    def __init__(self) -> None:
        self._own = self._shifted = self._swapped = self._all = 0.0
        self._darkest, self._brightest, self._images = 2.0, -2.0, 0

    def add(self, reference: Tensor, reconstruction: Tensor) -> None:
        """Take a batch, both float `[B, 3, H, W]` around [-1, 1]."""

        def error(other: Tensor) -> float:
            return (reference - other).abs().mean().item() * len(reference)

        own = error(reconstruction)
        self._all += own
        self._swapped += error(reconstruction.flip(1))
        if len(reference) > 1:  # a batch of one has no neighbour
            self._own += own
            self._shifted += error(reconstruction.roll(1, 0))
        self._darkest = min(self._darkest, reconstruction.min().item())
        self._brightest = max(self._brightest, reconstruction.max().item())
        self._images += len(reference)

    def notes(self) -> list[str]:
        """One line per suspected mistake."""
        found = []
        totals = (self._all, self._shifted, self._swapped)
        own, shifted, swapped = (total / max(1, self._images) / 2 for total in totals)  # of values in [0, 1]
        if self._shifted and self._own > _NEIGHBOUR * self._shifted:
            found.append(
                "reconstructions are no nearer to their own originals than to their neighbours' "
                f"(MAE {own:.4f} against {shifted:.4f}): is their order the same?"
            )
        elif self._swapped < _CLEARLY * self._all:
            found.append(
                "reconstructions are nearer to their originals with red and blue swapped "
                f"(MAE {swapped:.4f} against {own:.4f}): were they saved as BGR?"
            )
        if not self._all:
            found.append("every reconstruction equals its original value for value: is this the folder you mean?")
        if self._images and self._brightest - self._darkest < 0.02:
            found.append("all reconstructions are of one colour, like floats in [0, 1] that were cast to bytes")
        return found
