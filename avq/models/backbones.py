"""Encoder backbones and decoders, and the resizing of upper levels' latents on the way down."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.blocks import BottleneckResBlock, ConvResBlock, IdResBlock, TransposedResBlock
from avq.models.config import AutoencoderConfig
from avq.models.convolution import TransposedConvolution
from avq.models.full_precision import dtype_of


def encoder_stages(config: AutoencoderConfig) -> nn.ModuleList:
    """One stage per level, bottom first: image -> stride 4 -> 8 -> 16, each `[B, width, h, w]`."""
    build = {"aren": _aren_stage, "vqvae": _vqvae_stage, "vqvae2": _vqvae2_stage}[config.backbone]
    return nn.ModuleList(build(config, level) for level in range(1, config.levels + 1))


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
        nn.Conv2d(in_channels, width, 3, padding=1),
        *_residual_stack(config),
        TransposedConvolution(width, inner, 4, 2, padding=1),
        nn.ReLU(),
        TransposedConvolution(inner, 3, 4, 2, padding=1),
    )


class Resize(nn.Module):
    """RZ: brings an upper level's quantized latent to the size of a lower level (arXiv 2309.11641, fig. 1).

    Maps `[B, D, h, w]` to `[B, D, h * 2^levels, w * 2^levels]`. `mode` is "nearest", "bilinear", "transposed" (a
    transposed convolution per level) or "decoder" (VQ-VAE-2's residual stack and transposed convolution, one level).
    """

    def __init__(self, config: AutoencoderConfig, mode: str, levels: int = 1) -> None:
        super().__init__()
        self.mode, self.scale = mode, 2**levels
        self.learned: nn.Module | None = None
        width, dim = config.width, config.code_dim
        if mode == "transposed":
            self.learned = nn.Sequential(*(TransposedConvolution(dim, dim, 4, 2, padding=1) for _ in range(levels)))
        elif mode == "decoder":
            up = TransposedConvolution(width, dim, 4, 2, padding=1)
            self.learned = nn.Sequential(nn.Conv2d(dim, width, 3, padding=1), *_residual_stack(config), up)

    def forward(self, latents: Tensor) -> Tensor:
        if self.learned is not None:
            return cast(Tensor, self.learned(latents.to(dtype_of(self.learned))))
        return F.interpolate(latents, scale_factor=self.scale, mode=self.mode)


def _residual_stack(config: AutoencoderConfig) -> list[nn.Module]:
    inner = config.residual_width or config.width
    return [BottleneckResBlock(config.width, inner), BottleneckResBlock(config.width, inner), nn.ReLU()]


def _aren_stage(config: AutoencoderConfig, level: int) -> nn.Module:
    """AREN: two Id-ResBlocks and one Conv-ResBlock; level 1 stands on the base encoder, one Conv-ResBlock."""
    width, block = config.width, config.block
    # The base reads raw pixels, which are not activations: no batch norm and ReLU before its convolutions
    base = [ConvResBlock(3, width)] if level == 1 else []
    return nn.Sequential(*base, IdResBlock(width, block), IdResBlock(width, block), ConvResBlock(width, width, block))


def _vqvae_stage(config: AutoencoderConfig, level: int) -> nn.Module:
    """VQ-VAE, section 4.1: two 4x4 convolutions of stride 2, then two residual blocks."""
    width = config.width
    down = [nn.Conv2d(3, width, 4, 2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 4, 2, padding=1)]
    return nn.Sequential(*down, *_residual_stack(config))


def _vqvae2_stage(config: AutoencoderConfig, level: int) -> nn.Module:
    """VQ-VAE-2: half-width first convolution, one 3x3 convolution before the residual blocks."""
    width, half = config.width, config.width // 2
    if level == 1:
        down: list[nn.Module] = [
            nn.Conv2d(3, half, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, width, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        ]
    else:
        down = [nn.Conv2d(width, half, 4, 2, padding=1), nn.ReLU(), nn.Conv2d(half, width, 3, padding=1)]
    return nn.Sequential(*down, *_residual_stack(config))
