"""Decoders from latents at stride 4 to images, and the resizing of upper levels' latents on the way down."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.blocks import BottleneckResBlock, IdResBlock, TransposedResBlock
from avq.models.config import AutoencoderConfig
from avq.models.convolution import TransposedConvolution


def decoder(config: AutoencoderConfig, in_channels: int) -> nn.Module:
    """Latents `[B, in_channels, h, w]` to images `[B, 3, 4h, 4w]`, around [-1, 1] and not clamped."""
    width = config.width
    if config.backbone == "aren":  # the mirror of AREN level 1 and its base
        return nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            TransposedResBlock(width, config.block),
            IdResBlock(width, config.block),
            IdResBlock(width, config.block),
            TransposedConvolution(width, 3, 4, 2, padding=1),
        )
    inner = width if config.backbone == "vqvae" else width // 2
    return nn.Sequential(
        *_residual_head(config, in_channels),
        TransposedConvolution(width, inner, 4, 2, padding=1),
        nn.ReLU(),
        TransposedConvolution(inner, 3, 4, 2, padding=1),
    )


def _residual_head(config: AutoencoderConfig, in_channels: int) -> list[nn.Module]:
    width, inner = config.width, config.residual_width or config.width
    return [
        nn.Conv2d(in_channels, width, 3, padding=1),
        BottleneckResBlock(width, inner),
        BottleneckResBlock(width, inner),
        nn.ReLU(),
    ]


class Resize(nn.Module):
    """RZ: brings an upper level's quantized latent to the size of a lower level (arXiv 2309.11641, fig. 1).

    Maps `[B, D, h, w]` to `[B, D, h * 2^levels, w * 2^levels]`.

    Args:
        config: gives the latent width D and the layers' sizes.
        mode: "nearest", "bilinear", "transposed" (a transposed convolution a level), or "decoder" (VQ-VAE-2's
            residual stack and transposed convolution, one level only).
        levels: how many levels down, each a factor of two.
    """

    def __init__(self, config: AutoencoderConfig, mode: str, levels: int = 1) -> None:
        super().__init__()
        self.mode, self.scale = mode, 2**levels
        self.learned: nn.Module | None = None
        if mode == "transposed":
            ups = (TransposedConvolution(config.code_dim, config.code_dim, 4, 2, padding=1) for _ in range(levels))
            self.learned = nn.Sequential(*ups)
        elif mode == "decoder":
            up = TransposedConvolution(config.width, config.code_dim, 4, 2, padding=1)
            self.learned = nn.Sequential(*_residual_head(config, config.code_dim), up)

    def forward(self, latents: Tensor) -> Tensor:
        if self.learned is not None:
            return cast(Tensor, self.learned(latents))
        return F.interpolate(latents, scale_factor=self.scale, mode=self.mode)
