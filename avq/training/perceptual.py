"""LPIPS as a loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.metrics.perceptual import BACKBONES, find_perceptual


class PerceptualLoss(nn.Module):
    """LPIPS as a loss: the network of the metric `lpips-<net>`, with its gradient.

    Compare models that were trained on it by another metric. UsageError, with the fix, where its weights are missing.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        found = find_perceptual(net, BACKBONES[net].smallest)
        if isinstance(found, str):
            raise UsageError(f"perceptual = '{net}': {found}")
        self.network = found.network

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Mean distance of float images `[B, 3, H, W]` around [-1, 1]; the network computes in float32."""
        with torch.autocast(images.device.type, enabled=False):
            distance: Tensor = self.network(images.float(), target.float())
        return distance.mean()
