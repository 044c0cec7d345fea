"""Pixel errors: MAE with its sigma over images, MSE, PSNR, and MAE inside the second eye."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from avq.errors import AvqError
from avq.metrics.base import PerImageMetric, mean_and_sigma
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable

PSNR_CAP = 100.0  # dB; an image reproduced exactly would be infinite and take the mean with it


class MeanPerImage(PerImageMetric):
    """Mean over images, with the standard error over images (descriptive: see `Measurement.stderr`)."""

    protocol: str

    def compute(self) -> list[Measurement]:
        values = self.values()
        scored = values[~np.isnan(values)]
        if not scored.size:
            return [unavailable(self.name, self.why_empty(), protocol=self.protocol)]
        mean, sigma = mean_and_sigma(scored)
        stderr = None if math.isnan(sigma) else sigma / math.sqrt(scored.size)
        return [measured(self.name, mean, stderr=stderr, n=int(scored.size), protocol=self.protocol)]

    def why_empty(self) -> str:
        """Why no image has a score."""
        return "no images were evaluated"


class MeanAbsoluteError(MeanPerImage):
    """`mae`: mean over images of |x - y| over pixels and channels, in [0, 1]; and `mae-sigma` over images."""

    name = "mae"
    protocol = protocol_id("mae", range="0-1")

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        return (reference - reconstruction).abs().flatten(1).mean(1)

    def compute(self) -> list[Measurement]:
        values = self.values()
        protocol = protocol_id("mae-sigma", range="0-1")
        if values.size < 2:
            return [*super().compute(), unavailable("mae-sigma", "needs two images", protocol=protocol)]
        sigma = measured("mae-sigma", mean_and_sigma(values)[1], n=int(values.size), protocol=protocol)
        return [*super().compute(), sigma]


class MeanSquaredError(MeanPerImage):
    """`mse`: mean over images of (x - y)^2 over pixels and channels, in [0, 1] units."""

    name = "mse"
    protocol = protocol_id("mse", range="0-1")

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        return (reference - reconstruction).square().flatten(1).mean(1)


class PeakSignalToNoise(MeanPerImage):
    """`psnr`: -10 log10 of each image's MSE in dB, then the mean (not the PSNR of the mean MSE)."""

    name = "psnr"
    protocol = protocol_id("psnr", range="0-1", mean="images", cap=f"{PSNR_CAP:.0f}dB")

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        mse = (reference - reconstruction).square().flatten(1).mean(1)
        return -10 * torch.log10(mse.clamp_min(10 ** (-PSNR_CAP / 10)))


class EyeError(MeanPerImage):
    """`eye-mae`: MAE inside `extras["second_eye"]`, a bool mask `[B, H, W]`, mean over images that have one.

    On `synthetic-faces` the colour of one eye fixes the other's, so this shows what global context is worth
    where the rate binds.
    """

    name = "eye-mae"
    protocol = protocol_id("eye-mae", range="0-1", mask="second-eye")

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        if "second_eye" not in extras:
            return torch.full((len(reference),), math.nan, dtype=torch.float64)
        mask = extras["second_eye"].to(reference.device)
        if mask.dtype != torch.bool or mask.shape != (len(reference), *reference.shape[2:]):
            raise AvqError(f"eye-mae: second_eye must be a bool mask [B, H, W], not {list(mask.shape)} {mask.dtype}")
        error = (reference - reconstruction).abs().mean(1)
        return (error * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)

    def why_empty(self) -> str:
        return "the images have no mask of a second eye"
