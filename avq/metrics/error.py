"""Pixel errors: MAE with its sigma over images, MSE, PSNR, and MAE inside the second eye."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from avq.errors import AvqError
from avq.metrics.base import MeanPerImage, mean_and_sigma
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

PSNR_CAP = 100.0  # dB; an exact reconstruction has infinite PSNR, and the mean would be infinite too

register_metric(
    Metric("mae", title="mean absolute error, pixels in [0, 1]", label="MAE", better="lower", place=20, distortion=True,
           measured_by="avq.metrics.error:MeanAbsoluteError"),
    Metric("mae-sigma", title="standard deviation of MAE over images", label="MAE sigma", place=20, shown=False,
           measured_by="avq.metrics.error:MeanAbsoluteError"),
    Metric("mse", title="mean squared error, pixels in [0, 1]", label="MSE", better="lower", format=".5f", place=20,
           shown=False, not_judged="psnr is judged in its place", measured_by="avq.metrics.error:MeanSquaredError"),
    Metric("psnr", title="peak signal-to-noise ratio, per image, then mean", label="PSNR dB", unit="dB",
           better="higher", format=".2f", place=20, distortion=True, measured_by="avq.metrics.error:PeakSignalToNoise"),
    Metric("eye-mae", title="mean absolute error inside the second eye", label="eye MAE", better="lower", place=60,
           measured_by="avq.metrics.error:EyeError"),
)  # fmt: skip


class MeanAbsoluteError(MeanPerImage):
    """`mae`: mean over images of |x - y| over pixels and channels, in [0, 1]; and `mae-sigma` over images."""

    name = "mae"

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

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        return (reference - reconstruction).square().flatten(1).mean(1)


class PeakSignalToNoise(MeanPerImage):
    """`psnr`: -10 log10 of each image's MSE in dB, then the mean (not the PSNR of the mean MSE)."""

    name = "psnr"
    conditions: ClassVar = {"range": "0-1", "mean": "images", "cap": f"{PSNR_CAP:.0f}dB"}

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        mse = (reference - reconstruction).square().flatten(1).mean(1)
        return -10 * mse.clamp_min(10 ** (-PSNR_CAP / 10)).log10()


class EyeError(MeanPerImage):
    """`eye-mae`: MAE inside `extras["second_eye"]`, a bool mask `[B, H, W]`, mean over images that have one.

    On `synthetic-faces` both eyes have one colour, so this shows what global context is worth at a low rate.
    """

    name = "eye-mae"
    conditions: ClassVar = {"range": "0-1", "mask": "second-eye"}
    why_empty = "the images have no mask of a second eye"

    def score(self, reference: Tensor, reconstruction: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        import torch

        if "second_eye" not in extras:
            return reference.new_full((len(reference),), math.nan)
        mask = extras["second_eye"].to(reference.device)
        if mask.dtype != torch.bool or mask.shape != (len(reference), *reference.shape[2:]):
            raise AvqError(f"eye-mae: second_eye must be a bool mask [B, H, W], not {list(mask.shape)} {mask.dtype}")
        error = (reference - reconstruction).abs().mean(1)
        return (error * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)
