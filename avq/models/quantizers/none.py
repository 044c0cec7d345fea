"""No quantization: the plain autoencoder with the same bottleneck, which shows what quantization costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import projected

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig


def from_config(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "none" of one level."""
    return projected(NoQuantizer(), config.code_dim, config.quantizer_dim or config.code_dim)


class NoQuantizer(Quantizer):
    """Passes latents on. It has no codes: what stands in their place are the latents, float32 `[B, D, H, W]`."""

    codebook_size = 0

    def forward(self, latents: Tensor) -> Quantized:
        z = latents.float()
        return Quantized(z, z.detach(), z.new_zeros(()))

    def encode(self, latents: Tensor) -> Tensor:
        return latents.detach().float()

    def decode(self, codes: Tensor) -> Tensor:
        return codes
