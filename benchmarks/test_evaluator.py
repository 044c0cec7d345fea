"""Measuring reconstructions, against torchmetrics on the same images."""

from __future__ import annotations

import pytest
import torch

from avq.metrics.error import MeanAbsoluteError, PeakSignalToNoise
from avq.metrics.evaluator import Evaluator
from avq.metrics.structure import StructuralSimilarity
from benchmarks.conftest import Compare, peer_version

_BATCH, _BATCHES, _SIZE = 250, 4, 32


@pytest.mark.benchmark(group="evaluator")
def test_evaluator(compare: Compare) -> None:
    """MAE, PSNR and SSIM of 1,000 CIFAR-10-sized images; ours in float64, theirs in float32."""
    torchmetrics = pytest.importorskip("torchmetrics", reason="the peer is not installed")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_BATCH, 3, _SIZE, _SIZE, generator=generator) * 2 - 1
    made = (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(-1, 1)

    def ours() -> object:
        evaluator = Evaluator([MeanAbsoluteError(), PeakSignalToNoise(), StructuralSimilarity()], "benchmark")
        for _ in range(_BATCHES):
            evaluator.update(images, made, [])
        return evaluator.compute()

    def peer() -> object:
        metrics = [
            torchmetrics.MeanAbsoluteError(),
            torchmetrics.image.PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3)),
            torchmetrics.image.StructuralSimilarityIndexMeasure(data_range=1.0),
        ]
        for _ in range(_BATCHES):
            for metric in metrics:
                metric.update((made + 1) / 2, (images + 1) / 2)
        return [metric.compute() for metric in metrics]

    compare(f"evaluator, MAE, PSNR and SSIM of {_BATCH * _BATCHES} x 32 x 32", ours, peer, peer_version("torchmetrics"))
