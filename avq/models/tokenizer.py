"""What every variant is: the interface that training, evaluation and the command line use."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.asking import asks
from avq.models.full_precision import dtype_of
from avq.models.quantizers.base import Quantizer
from avq.models.recipe import Recipe


class Attention(nn.Module, ABC):
    """A layer that adds W x to a latent x `[B, C, H, W]` of N = H W pixels, W being the attention between them."""

    heads: int
    """Equal groups of channels that attend separately."""

    @abstractmethod
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The residual base and the update W x, both float32 `[B, C, H, W]`; their sum is the layer's output."""

    @abstractmethod
    def log_weights(self, x: Tensor, rows: Tensor) -> Tensor:
        """log W_ij `[B, heads, R, N]` of the pixels i = `rows` (int64 `[R]`, in row-major order), without the N x N W.

        Logarithms, since a sigmoid's row may be too small for float32. A gate is left out.
        """

    @abstractmethod
    def row(self, x: Tensor, pixel: int) -> tuple[Tensor, Tensor]:
        """`parts` of one pixel of one image `[1, C, H, W]`: base and update, each `[C]`, without the N x N W."""

    @abstractmethod
    def computed(self, pixels: int, device: torch.device | str) -> str | None:
        """How it is computed for N pixels: "dense" (N x N per image) or "linear"; None where W has no logits."""


class Level(NamedTuple):
    """A level of a tokenizer: its quantizer, and the attention before it, if any."""

    quantizer: Quantizer
    attention: Attention | None


class Reconstruction(NamedTuple):
    """Images `[B, 3, H, W]` around [-1, 1], codes bottom level first, and weighted losses by name."""

    images: Tensor
    codes: list[Tensor]
    losses: dict[str, Tensor]


class Tokenizer(nn.Module, ABC):
    """A model that turns images into discrete codes and back; the base class of a user's own variant.

    Images are float `[B, 3, H, W]` in [-1, 1]; codes int64 `[B, h, w]`, or `[B, h, w, R]` with R codes a position, one
    tensor per level, bottom (finest) first. A model without codes (codebook_sizes = []) has latents in their place in
    `encode` and `decode`, and none in a `Reconstruction`.

    Attributes:
        codebook_sizes: codebook size of each level, bottom first; [] for a model without codes.
        codes_per_position: R, of every level.
        decoder_levels: the levels (1 = bottom) whose codes the decoder sees; bits per pixel count these, no others.
        recipe: what `build` built it from; None if something else did.
        is_baseline: whether it is fitted to images (`Baseline`), not trained.
    """

    codebook_sizes: list[int]
    codes_per_position: int = 1
    decoder_levels: list[int]
    recipe: Recipe | None = None
    is_baseline = False

    @abstractmethod
    def forward(self, images: Tensor) -> Reconstruction:
        """Reconstruct; in training mode also update what learns without a gradient, such as an EMA codebook."""

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """Only the codes, as `forward` finds them in eval mode; learns nothing in any mode."""

    @abstractmethod
    def decode(self, codes: list[Tensor]) -> Tensor:
        """Images from the codes of all levels, as `forward` returns them in eval mode; learns nothing in any mode."""

    def backbone(self, images: Tensor) -> list[Tensor]:
        """The encoder backbone's response per level `[B, width, h, w]` in eval mode, bottom first; [] without one."""
        return []

    def latent_sizes(self, image_size: int) -> list[tuple[int, int]]:
        """Height and width of each level's codes for square images of that side, bottom first."""
        return [(level.shape[1], level.shape[2]) for level in self.codes_of_blank(image_size)]

    @asks
    @torch.no_grad()
    def codes_of_blank(self, image_size: int) -> list[Tensor]:
        """The codes of one grey square image of that side, for their shapes."""
        where = next(itertools.chain(self.parameters(), self.buffers()), torch.zeros(())).device
        return self.encode(torch.zeros(1, 3, image_size, image_size, device=where, dtype=dtype_of(self)))

    def initialise_codebooks(self, images: Tensor) -> None:
        """Called once, with a large batch, before the first training step."""

    def fit(self, images: Tensor, seed: int) -> None:
        """Fit a baseline to uint8 images `[N, H, W, 3]`."""
        raise NotImplementedError(f"{type(self).__name__} is trained, not fitted.")

    # What follows describes the model to code that measures it; the defaults go by its modules.

    def find_levels(self) -> list[Level]:
        """The quantizer and the attention, if any, of each level, bottom first; [] where these are not known."""
        return []

    def find_quantizers(self) -> list[Quantizer]:
        """Those that are not part of another."""
        found = [module for module in self.modules() if isinstance(module, Quantizer)]
        inner = {part for quantizer in found for part in quantizer.modules() if part is not quantizer}
        return [quantizer for quantizer in found if quantizer not in inner]

    def codebook_values(self) -> int:
        """The number of values that its codebooks store."""
        return sum(quantizer.codebook_values() for quantizer in self.find_quantizers())

    def find_parts(self) -> dict[nn.Module, str]:
        """The modules that a profile measures separately, with the names of their parts."""
        return {child: name for name, child in self.named_children()}

    def find_blocks(self) -> list[nn.Module]:
        """Modules that activation checkpointing may recompute: they draw no random numbers."""
        return [module for module in self.modules() if getattr(module, "recomputable", False)]

    def find_last_weight(self) -> Tensor | None:
        """The weight of the last convolution of its `decoder`, if it has one."""
        decoder = getattr(self, "decoder", nn.Identity())
        weights = [part.weight for part in decoder.modules() if isinstance(part, nn.modules.conv._ConvNd)]
        return weights[-1] if weights else None

    def narrowed(self) -> Tokenizer:
        """A model with the same receptive fields and fewer channels; or itself."""
        return self

    def attention_computed(self, image_size: int, device: torch.device | str) -> dict[str, str]:
        """How each level's attention is computed, for its record: `{"level 1": "dense"}`."""
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
    """UsageError, with the nearest sides that fit, where the stride does not divide an image side in pixels."""
    if side % stride or side < stride:
        below, above = side // stride * stride, (side // stride + 1) * stride
        nearest = f"{below} or {above}" if below else str(above)
        raise UsageError(f"image size {side} is not a multiple of {stride}, the model's stride; use {nearest}.")


def check_codes(codes: Sequence[Tensor], codebook_sizes: Sequence[int]) -> None:
    """UsageError unless these are the codes of those levels.

    They are integers `[B, h, w]`, or `[B, h, w, R]`, from 0 to K - 1, each level of half the sides of the one below.
    """
    levels = len(codebook_sizes)
    if len(codes) != levels:
        raise UsageError(f"expected the codes of {levels} levels, bottom (finest) first, not of {len(codes)}.")
    for number, (level, size) in enumerate(zip(codes, codebook_sizes, strict=True), 1):
        below = [len(codes[0]), *(side >> (number - 1) for side in codes[0].shape[1:3])]
        if level.is_floating_point() or level.ndim not in (3, 4) or list(level.shape[:3]) != below:
            given, wanted = f"{str(level.dtype).removeprefix('torch.')} {list(level.shape)}", "[B, h, w]"
            wanted = str(below) + " above those of level 1, the finest" if number > 1 else wanted
            raise UsageError(f"the codes of level {number} are {given}; expected integers {wanted}.")
        # What depends on values cannot be exported or compiled.
        if torch.compiler.is_compiling() or not level.numel() or 0 <= level.min() <= level.max() < size:
            continue
        found = f"{int(level.min())} to {int(level.max())}"
        raise UsageError(f"level {number}: codes must be whole numbers from 0 to {size - 1}, not {found}.")
