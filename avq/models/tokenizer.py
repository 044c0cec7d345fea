"""What every variant is: the face that training, evaluation and the command line know."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from avq.errors import UsageError


class Reconstruction(NamedTuple):
    """What a forward pass gives: images `[B, 3, H, W]` around [-1, 1], codes bottom level first, weighted losses."""

    images: Tensor
    codes: list[Tensor]
    losses: dict[str, Tensor]


class Recipe(NamedTuple):
    """What `build_from_config` takes to build a tokenizer: its zoo name, side of the images in pixels, settings."""

    variant: str
    image_size: int
    config: dict[str, Any]


class Tokenizer(nn.Module, ABC):
    """A model that turns images into discrete codes and back. A user's own variant subclasses it.

    Images are float `[B, 3, H, W]` in [-1, 1]; codes int64 `[B, h, w]`, one tensor a level, bottom (finest) first.

    Attributes:
        num_codes: codebook size a level, bottom first.
        decoder_levels: the levels (1 = bottom) whose codes the decoder sees; bits per pixel count these, no others.
        recipe: how the zoo built it; None where something else did.
    """

    num_codes: list[int]
    decoder_levels: list[int]
    recipe: Recipe | None = None

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


class Floor(Tokenizer):
    """A baseline that is fitted rather than trained."""

    @abstractmethod
    def fit(self, images: Tensor, seed: int) -> None:
        """Fit to uint8 images `[N, H, W, 3]`."""


def check_image_size(side: int, stride: int) -> None:
    """UsageError where the stride does not divide an image side in pixels, with the nearest sides that fit."""
    if side % stride or side < stride:
        below, above = side // stride * stride, (side // stride + 1) * stride
        nearest = f"{below} or {above}" if below else str(above)
        raise UsageError(f"image size {side} is not a multiple of {stride}, the model's stride; use {nearest}.")
