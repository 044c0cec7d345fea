"""Networks whose features represent an image in distances of distributions, as torch-fidelity's extractors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from avq.metrics.tensors import content_id, features_of, load_tensors

SQUEEZENET = "squeezenet1_1"
INCEPTION = "inception-v3-compat"
_SMALLEST_INPUT = 64  # px: the last mean is then over 3x3 positions; of 32 px, over one
_PASS_PIXELS = 2**18  # pixels of a network's input at once: 64 images of 64 px stay in a CPU's cache


class SqueezeNetFeatures(FeatureExtractorBase):  # type: ignore[misc]  # torch-fidelity publishes no types
    """The 512 channels after the last fire module of torchvision's SqueezeNet 1.1, mean over positions.

    Bytes are scaled as for ImageNet. A side below 64 px is enlarged to 64 (bilinear); nothing is ever reduced.

    Args:
        name: as registered with torch-fidelity.
        features_list: `["512"]`.
        feature_extractor_weights_path: the `features.*` tensors.
    """

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: Path, **_: Any) -> None:
        from torchvision.models import squeezenet1_1

        super().__init__(name, features_list)
        with torch.random.fork_rng(devices=[]):
            self.body: nn.Module = squeezenet1_1(weights=None).features
        path = Path(feature_extractor_weights_path)
        self.body.load_state_dict(features_of(load_tensors(path), path))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    mean: Tensor
    std: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Features float32 `[B, 512]` of uint8 images `[B, 3, H, W]`."""
        x = (images.float() / 255 - self.mean) / self.std
        sides = [max(_SMALLEST_INPUT, int(side)) for side in x.shape[2:]]
        if sides != list(x.shape[2:]):
            x = F.interpolate(x, sides, mode="bilinear", align_corners=False)
        return (self.body(x.contiguous(memory_format=torch.channels_last)).mean((2, 3)),)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("512",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "512"

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        return torch.zeros(1, 3, _SMALLEST_INPUT, _SMALLEST_INPUT, dtype=torch.uint8)


if SQUEEZENET not in FEATURE_EXTRACTORS_REGISTRY:  # the registry refuses a name twice
    register_feature_extractor(SQUEEZENET, SqueezeNetFeatures)


class Kind(NamedTuple):
    """An extractor's name and layer, and how many images its Fréchet distance needs and should have."""

    name: str
    layer: str
    least: int
    advised: int


KINDS = {SQUEEZENET: Kind(SQUEEZENET, "512", 2048, 2048), INCEPTION: Kind(INCEPTION, "2048", 2048, 10_000)}


class Extractor:
    """Bytes to features, with a count of the images.

    Attributes:
        kind: which network and layer.
        weights_id: names the network's values.
        computed: images whose features were computed so far.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.kind = KINDS[name]
        tensors = load_tensors(path)
        if name == SQUEEZENET:
            tensors = features_of(tensors, path)
            self._network: nn.Module = SqueezeNetFeatures(name, [self.kind.layer], path)
        else:
            # torch-fidelity unpickles anything: it gets only a file that has been read safely before.
            with torch.random.fork_rng(devices=[]):
                self._network = FeatureExtractorInceptionV3(
                    name, [self.kind.layer], feature_extractor_weights_path=str(path)
                )
        self.weights_id = content_id(tensors)
        self.computed = 0

    def input_side(self, image_size: int) -> int:
        """Side in pixels of what the network sees of an image."""
        return max(_SMALLEST_INPUT, image_size) if self.kind.name == SQUEEZENET else 299

    def conditions(self, image_size: int) -> dict[str, object]:
        """What a protocol id states of the features."""
        side = self.input_side(image_size)
        resize = "native" if side == image_size else "tf1" if self.kind.name == INCEPTION else "bilinear"
        about = {"extractor": self.kind.name, "layer": self.kind.layer}
        return {**about, "input": f"{side}px-{resize}", "weights": self.weights_id}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 `[B, D]` on the CPU of uint8 images `[B, 3, H, W]`."""
        network = self._network.to(images.device)
        size = max(1, _PASS_PIXELS // self.input_side(max(images.shape[2:])) ** 2)
        parts = [network(part)[0].float().cpu() for part in torch.split(images, size)]
        self.computed += len(images)
        return torch.cat(parts)


@cache
def extractor(name: str, path: Path) -> Extractor:
    """The extractor, built once per process."""
    return Extractor(name, path)
