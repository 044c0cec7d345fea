"""The network behind LPIPS (arXiv 1801.03924), by the `lpips` package: for the metric, and as a loss."""

from __future__ import annotations

import math
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avq.metrics.measurement import protocol_id
from avq.metrics.tensors import content_id, features_of, load_tensors
from avq.metrics.weights import MissingWeightsError, find_weights


class Backbone(NamedTuple):
    """A backbone's weights in the registry, and the smallest image side that survives its pooling."""

    weights: str
    smallest: int


BACKBONES = {"alex": Backbone("alexnet", 31), "vgg": Backbone("vgg16", 16), "squeeze": Backbone("squeezenet1_1", 17)}


_PASS_PIXELS = 2**16  # of images at once: 64 of 32 px; with more, activations leave a CPU's cache


class PerceptualDistance:
    """LPIPS of two batches, image by image.

    Attributes:
        net: the backbone, as the package calls it.
        weights_id: names the backbone's values (`content_id`).
    """

    def __init__(self, net: str, path: Path) -> None:
        import lpips

        tensors = features_of(load_tensors(path), path)
        # The package builds a torchvision backbone: random here, so that nothing is downloaded, then ours.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's about the way the package calls it
            network = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
        own = network.net.state_dict()  # slice1.0.weight is features.0.weight
        wanted = {name: tensors[name.partition(".")[2]] for name in own}
        network.net.load_state_dict(wanted)
        self.net, self.weights_id = net, content_id(wanted)
        network = network.requires_grad_(False).eval()
        self.network: nn.Module = network.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances `[B]`, float64, of float images `[B, 3, H, W]` in [-1, 1]; the network computes in float32."""
        network = self.network.to(first.device)
        several = max(1, _PASS_PIXELS // math.prod(first.shape[2:]))
        pairs = zip(torch.split(first, several), torch.split(second, several), strict=True)
        return torch.cat([network(_as_taken(x), _as_taken(y)).flatten() for x, y in pairs]).double()


def _as_taken(images: Tensor) -> Tensor:
    return images.float().contiguous(memory_format=torch.channels_last)


@cache
def perceptual_distance(net: str, path: Path) -> PerceptualDistance:
    """The network, built once per process."""
    return PerceptualDistance(net, path)


def find_perceptual(net: str, image_size: int) -> PerceptualDistance | str:
    """The distance with that backbone, or why it is not available for images of that side."""
    backbone = BACKBONES[net]
    if image_size < backbone.smallest:
        return f"needs images of at least {backbone.smallest} px"
    try:
        return perceptual_distance(net, find_weights(backbone.weights))
    except MissingWeightsError as error:
        return str(error)


def perceptual_protocol(metric: str, distance: PerceptualDistance, **conditions: object) -> str:
    """A protocol id that states the package's version of LPIPS and the backbone's values."""
    return protocol_id(metric, lpips="0.1", weights=distance.weights_id, size="native", **conditions)
