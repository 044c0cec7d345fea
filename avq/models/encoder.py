"""Encoder stages: each brings the response of the level below to its own level's stride."""

from __future__ import annotations

from torch import nn

from avq.models.blocks import BottleneckResBlock, ConvResBlock, IdResBlock
from avq.models.config import AutoencoderConfig


def encoder_stages(config: AutoencoderConfig) -> nn.ModuleList:
    """One stage a level, bottom first: image -> stride 4 -> 8 -> 16, each `[B, width, h, w]`."""
    build = {"aren": _aren_stage, "vqvae": _vqvae_stage, "vqvae2": _vqvae2_stage}[config.backbone]
    return nn.ModuleList(build(config, level) for level in range(1, config.levels + 1))


def _aren_stage(config: AutoencoderConfig, level: int) -> nn.Module:
    """AREN: two Id-ResBlocks and one Conv-ResBlock; level 1 stands on the base encoder, one Conv-ResBlock."""
    width, block = config.width, config.block
    # The base reads raw pixels, which are not activations: no batch norm and ReLU before its convolutions
    base = [ConvResBlock(3, width)] if level == 1 else []
    return nn.Sequential(*base, IdResBlock(width, block), IdResBlock(width, block), ConvResBlock(width, width, block))


def _residual_stack(config: AutoencoderConfig) -> list[nn.Module]:
    inner = config.residual_width or config.width
    return [BottleneckResBlock(config.width, inner), BottleneckResBlock(config.width, inner), nn.ReLU()]


def _vqvae_stage(config: AutoencoderConfig, level: int) -> nn.Module:
    """VQ-VAE, section 4.1: two 4x4 convolutions of stride 2, then two residual blocks."""
    width = config.width
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 4, 2, padding=1),
        *_residual_stack(config),
    )


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
