"""What every metric is called, its unit, which direction is better, and how it is printed (no torch here)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from avq.errors import unknown

Better = Literal["lower", "higher"] | None
Kind = Literal["trained", "deterministic", "time", "memory"]


@dataclass(frozen=True)
class Metric:
    """One metric's entry.

    Attributes:
        name: the name in records: lower case, with hyphens.
        title: a short phrase for a person.
        unit: unit of the recorded value; empty where the value is a bare number.
        better: direction of better, or None where neither is (a description, or a budget held equal).
        kind: `trained` values vary with the seed; `deterministic` ones follow from the configuration;
            `time` and `memory` depend on the machine too.
        format: a format specification for one value, or `si` for three digits and a prefix (1.39 M).
        label: the head of its column.
    """

    name: str
    title: str
    unit: str
    better: Better
    kind: Kind
    format: str
    label: str


# In the order of a table's columns.
# fmt: off
_ENTRIES = (
    Metric("bits-per-pixel", "tokens decoded x log2 K / pixels",
           "bit/px", None, "deterministic", ".3f", "bits/px"),
    Metric("bits-per-pixel-entropy", "the same rate by code entropy",
           "bit/px", None, "trained", ".3f", "entropy bits/px"),
    Metric("mae", "mean absolute error, pixels in [0, 1]",
           "", "lower", "trained", ".4f", "MAE"),
    Metric("mae-sigma", "standard deviation of MAE over images",
           "", None, "trained", ".4f", "MAE sigma"),
    Metric("mse", "mean squared error, pixels in [0, 1]",
           "", "lower", "trained", ".5f", "MSE"),
    Metric("psnr", "peak signal-to-noise ratio, per image, then mean",
           "dB", "higher", "trained", ".2f", "PSNR dB"),
    Metric("ssim", "structural similarity, per image, then mean",
           "", "higher", "trained", ".4f", "SSIM"),
    Metric("ms-ssim", "the same over five scales (from 161 px)",
           "", "higher", "trained", ".4f", "MS-SSIM"),
    Metric("lpips-squeeze", "learned perceptual distance, SqueezeNet",
           "", "lower", "trained", ".4f", "LPIPS squeeze"),
    Metric("lpips-alex", "learned perceptual distance, AlexNet",
           "", "lower", "trained", ".4f", "LPIPS alex"),
    Metric("lpips-vgg", "learned perceptual distance, VGG16",
           "", "lower", "trained", ".4f", "LPIPS vgg"),
    Metric("rfid", "Fréchet Inception distance of reconstructions",
           "", "lower", "trained", ".2f", "rFID"),
    Metric("rkid", "kernel Inception distance of reconstructions",
           "", "lower", "trained", ".5f", "rKID"),
    Metric("fd-squeezenet", "Fréchet distance of SqueezeNet features (no FID)",
           "", "lower", "trained", ".4g", "FD SqueezeNet"),
    Metric("kd-squeezenet", "kernel distance of SqueezeNet features (no KID)",
           "", "lower", "trained", ".4g", "KD SqueezeNet"),
    Metric("eye-mae", "mean absolute error inside the second eye",
           "", "lower", "trained", ".4f", "eye MAE"),
    Metric("mae-gap", "MAE on test images less that on training images",
           "", None, "trained", ".4f", "MAE gap"),
    Metric("symmetry-gap", "asymmetry of reconstructed faces less the original's",
           "", None, "trained", ".4f", "symmetry gap"),
    Metric("symmetry-gap-blur", "the same of originals blurred to equal MAE",
           "", None, "trained", ".4f", "symmetry gap of blur"),
    Metric("symmetry-excess", "symmetry gap less that of blur: symmetry lost beyond blurring",
           "", "lower", "trained", ".4f", "symmetry excess"),
    Metric("symmetry-gap-lpips-squeeze", "symmetry gap in LPIPS features",
           "", None, "trained", ".4f", "LPIPS symmetry gap"),
    Metric("symmetry-gap-blur-lpips-squeeze", "the same of originals blurred to equal MAE",
           "", None, "trained", ".4f", "LPIPS symmetry gap of blur"),
    Metric("symmetry-excess-lpips-squeeze", "LPIPS symmetry gap less that of blur",
           "", "lower", "trained", ".4f", "LPIPS symmetry excess"),
    Metric("validation-mae", "mean absolute error on validation images",
           "", "lower", "trained", ".4f", "validation MAE"),
    Metric("active-codes", "codes used at least once in the split",
           "codes", "higher", "trained", ".0f", "active codes"),
    Metric("usage", "share of the codebook used in the split",
           "", "higher", "trained", ".2f", "usage"),
    Metric("perplexity", "exp of the code entropy over the split",
           "codes", "higher", "trained", ".0f", "perplexity"),
    Metric("dead-codes", "codes never used in the split",
           "codes", "lower", "trained", ".0f", "dead codes"),
    Metric("knockout-mae", "rise of MAE when the level's codes are all its commonest",
           "", None, "trained", ".4f", "knock-out MAE"),
    Metric("knockout-lpips-squeeze", "rise of LPIPS when the level's codes are all its commonest",
           "", None, "trained", ".4f", "knock-out LPIPS"),
    Metric("attention-gain", "|W x| / |x|, mean over images",
           "", None, "trained", ".3g", "attention gain"),
    Metric("attention-distance", "how far a pixel looks (uniform attention: about 0.52)",
           "side", None, "trained", ".3f", "attention distance"),
    Metric("attention-entropy", "entropy of where a pixel looks (uniform attention: 1)",
           "ln N", None, "trained", ".3f", "attention entropy"),
    Metric("params-trainable", "values changed by gradient",
           "values", "lower", "deterministic", "si", "trainable values"),
    Metric("params-codebook", "codebook values, trained or EMA",
           "values", "lower", "deterministic", "si", "codebook values"),
    Metric("params-buffers", "buffers (EMA sums, statistics)",
           "values", "lower", "deterministic", "si", "buffer values"),
    Metric("macs", "multiply-accumulates to reconstruct one image",
           "MAC", "lower", "deterministic", "si", "MACs/image"),
    Metric("receptive-field", "side of the trunk's receptive field",
           "px", None, "deterministic", ".0f", "field px"),
    Metric("latent-height", "rows of the level's codes",
           "", None, "deterministic", ".0f", "latent height"),
    Metric("latent-width", "columns of the level's codes",
           "", None, "deterministic", ".0f", "latent width"),
    Metric("attention-memory-analytic", "the N x N attention matrix of one image, by formula",
           "B", "lower", "deterministic", "si", "attention bytes"),
    Metric("train-images-per-s", "training on a quiet machine",
           "images/s", "higher", "time", ".0f", "train images/s"),
    Metric("inference-images-per-s", "inference on a quiet machine",
           "images/s", "higher", "time", ".0f", "infer images/s"),
    Metric("peak-memory", "peak memory of training steps, on a quiet machine",
           "MiB", "lower", "memory", ".0f", "peak MiB"),
    Metric("process-memory", "peak memory of the run's process: images, training, evaluation",
           "MiB", "lower", "memory", ".0f", "process MiB"),
    Metric("training-time", "wall-clock time of the training run",
           "s", "lower", "time", ".0f", "training s"),
    Metric("time-to-quality", "training time until validation MAE is at the ablation's level",
           "s", "lower", "time", ".0f", "s to quality"),
    Metric("attention-memory", "what a pass of the attention layer takes beyond what is held, at its peak",
           "MiB", "lower", "memory", ".1f", "attention MiB"),
    Metric("attention-memory-predicted", "the same, counted from the tensors that the pass makes",
           "MiB", "lower", "deterministic", ".1f", "counted MiB"),
    Metric("attention-memory-exponent", "power of the latent's side by which that memory grows",
           "", "lower", "memory", ".2f", "attention MiB exponent"),
    Metric("attention-time", "time of a pass of the attention layer",
           "s", "lower", "time", ".3g", "attention s"),
    Metric("attention-time-predicted", "the same by the roofline, from counted FLOPs and bytes",
           "s", None, "time", ".3g", "roofline s"),
    Metric("attention-time-exponent", "power of the latent's side by which that time grows",
           "", "lower", "time", ".2f", "attention s exponent"),
    Metric("model-memory", "what a pass of a whole variant takes beyond what is held, at its peak",
           "MiB", "lower", "memory", ".1f", "model MiB"),
    Metric("model-memory-predicted", "the same, counted from the tensors that the pass makes",
           "MiB", "lower", "deterministic", ".1f", "model counted MiB"),
    Metric("model-memory-exponent", "power of the latent's side by which that memory grows",
           "", "lower", "memory", ".2f", "model MiB exponent"),
    Metric("model-time", "time of a pass of a whole variant",
           "s", "lower", "time", ".3g", "model s"),
    Metric("model-time-predicted", "the same by the roofline, from counted FLOPs and bytes",
           "s", None, "time", ".3g", "model roofline s"),
    Metric("model-time-exponent", "power of the latent's side by which that time grows",
           "", "lower", "time", ".2f", "model s exponent"),
)
# fmt: on

METRICS: dict[str, Metric] = {entry.name: entry for entry in _ENTRIES}


def get_metric(name: str) -> Metric:
    """The entry called `name`.

    Raises:
        UsageError: there is no such metric; the nearest name is suggested.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def format_value(metric: str, value: float | None, spread: float | None = None) -> str:
    """`value` as a table shows it, without its unit; with `± spread` in the same digits where it is given.

    A missing value (None or NaN) is a hyphen.
    """
    if value is None or math.isnan(value):
        return "-"
    spec = get_metric(metric).format
    if spec == "si":
        return _si(value)
    text = _number(value, spec)
    return text if spread is None or math.isnan(spread) else f"{text} ± {_number(spread, spec)}"


def _number(value: float, spec: str) -> str:
    """Without an exponent for large values: no column of a table mixes 8750 and 1.31e+04."""
    return format(value, ".0f" if spec.endswith("g") and abs(value) >= 1000 else spec)


def _si(value: float) -> str:
    for size, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            number = value / size
            return f"{number:.3g}{prefix}" if abs(number) < 999.5 else f"{number:.0f}{prefix}"
    return f"{value:.0f}"
