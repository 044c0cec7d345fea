"""What every variant is: the face that training, evaluation and the command line know."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.levels import Level
from avq.models.quantizers.base import Quantizer
from avq.models.recipe import Recipe


class Reconstruction(NamedTuple):
    """What a forward pass gives: images `[B, 3, H, W]` around [-1, 1], codes bottom level first, weighted losses."""

    images: Tensor
    codes: list[Tensor]
    losses: dict[str, Tensor]


class Tokenizer(nn.Module, ABC):
    """A model that turns images into discrete codes and back. A user's own variant subclasses it.

    Images are float `[B, 3, H, W]` in [-1, 1]; codes int64 `[B, h, w]`, one tensor a level, bottom (finest) first.

    Attributes:
        codebook_size: codebook size a level, bottom first.
        decoder_levels: the levels (1 = bottom) whose codes the decoder sees; bits per pixel count these, no others.
        recipe: what `build` built it from; None where something else did.
        is_baseline: it is fitted to images (`Baseline`), not trained.
    """

    codebook_sizes: list[int]
    decoder_levels: list[int]
    recipe: Recipe | None = None
    is_baseline = False

    @abstractmethod
    def forward(self, images: Tensor) -> Reconstruction:
        """Reconstruct; in training mode also move what learns without a gradient."""

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """The codes alone."""

    @abstractmethod
    def decode(self, codes: list[Tensor]) -> Tensor:
        """The images that `forward` gives in eval mode, from the codes of all levels."""

    def trunk(self, images: Tensor) -> list[Tensor]:
        """The encoder's response a level, bottom first, before projection and attention; [] where there is none."""
        return []

    @torch.no_grad()
    def latent_sizes(self, image_size: int) -> list[tuple[int, int]]:
        """Height and width of each level's codes for square images of that side, bottom first.

        A subclass that knows them without encoding an image says so itself.
        """
        where = next(itertools.chain(self.parameters(), self.buffers()), torch.zeros(())).device
        codes = self.encode(torch.zeros(1, 3, image_size, image_size, device=where))
        return [(level.shape[1], level.shape[2]) for level in codes]

    def initialise_codebooks(self, images: Tensor) -> None:
        """Called once with a large batch before the first training step."""

    def fit(self, images: Tensor, seed: int) -> None:
        """Fit a baseline to uint8 images `[N, H, W, 3]`."""
        raise NotImplementedError(f"{type(self).__name__} is trained, not fitted.")

    # What follows tells those who measure a model how it is made: by default, no more than its modules show.

    def find_levels(self) -> list[Level]:
        """The quantizer and the attention of each level, bottom first; [] for a model that does not say."""
        return []

    def find_quantizers(self) -> list[Quantizer]:
        """All quantizers in it."""
        return [module for module in self.modules() if isinstance(module, Quantizer)]

    def codebook_values(self) -> int:
        """How many values its codebooks store."""
        return sum(quantizer.codebook_values() for quantizer in self.find_quantizers())

    def find_parts(self) -> dict[nn.Module, str]:
        """The modules that a profile tells apart, with names of parts."""
        return {child: name for name, child in self.named_children()}

    def find_blocks(self) -> list[nn.Module]:
        """Modules that may be computed again for the backward pass: they draw no random numbers."""
        return [module for module in self.modules() if getattr(module, "recomputable", False)]

    def find_last_weight(self) -> Tensor | None:
        """The weight of its decoder's last convolution; None without a `decoder` of convolutions."""
        decoder = getattr(self, "decoder", nn.Identity())
        weights = [part.weight for part in decoder.modules() if isinstance(part, nn.modules.conv._ConvNd)]
        return weights[-1] if weights else None

    def narrowed(self) -> Tokenizer:
        """A model with the same receptive fields and as few channels as can be; or itself."""
        return self

    def attention_computed(self, image_size: int, device: torch.device | str) -> dict[str, str]:
        """How each level's attention is computed there, for its record: `{"level 1": "dense"}`."""
        layers = {number: level.attention for number, level in enumerate(self.find_levels(), 1) if level.attention}
        sizes = self.latent_sizes(image_size) if layers else []
        found = {n: layer.computed(sizes[n - 1][0] * sizes[n - 1][1], device) for n, layer in layers.items()}
        return {f"level {number}": how for number, how in found.items() if how}


class Baseline(Tokenizer):
    """A tokenizer that is fitted rather than trained."""

    is_baseline = True

    @abstractmethod
    def fit(self, images: Tensor, seed: int) -> None:
        """Fit to uint8 images `[N, H, W, 3]`."""


def check_image_size(side: int, stride: int) -> None:
    """UsageError where the stride does not divide an image side in pixels, with the nearest sides that fit."""
    if side % stride or side < stride:
        below, above = side // stride * stride, (side // stride + 1) * stride
        nearest = f"{below} or {above}" if below else str(above)
        raise UsageError(f"image size {side} is not a multiple of {stride}, the model's stride; use {nearest}.")
