"""Product quantization (Jégou et al., 2011): equal groups of channels, each with a codebook of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avq.errors import UsageError
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import projected
from avq.models.quantizers.several import SeveralCodes
from avq.models.quantizers.vq import VectorQuantizer, plain

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig


def from_config(config: AutoencoderConfig, product_heads: int) -> Quantizer:
    """The quantizer "product" of one level."""
    dim = config.quantizer_dim or config.code_dim
    if product_heads < 2 or dim % product_heads:
        line = f"product_heads must be at least 2 and divide the {dim} channels that are quantized"
        raise UsageError(f"{line}, not {product_heads}.")
    parts = [plain(config, dim // product_heads) for _ in range(product_heads)]
    return projected(ProductQuantizer(parts, product_heads), config.code_dim, dim)


class ProductQuantizer(SeveralCodes):
    """Quantizes R equal groups of channels, each with a codebook of its own; the loss is the mean of theirs."""

    def quantize(self, flat: Tensor) -> Quantized:
        made = [part.quantize(group) for part, group in self._groups(flat)]
        vectors, codes, losses = zip(*made, strict=True)
        return Quantized(torch.cat(vectors, 1), torch.stack(codes, 1), torch.stack(losses).mean())

    def assign(self, flat: Tensor) -> Tensor:
        return torch.stack([part.assign(group) for part, group in self._groups(flat)], 1)

    def vectors(self, codes: Tensor) -> Tensor:
        return torch.cat([part.vectors(code) for part, code in zip(self.all_parts(), codes.unbind(1), strict=True)], 1)

    def learn_from(self, flat: Tensor, codes: Tensor) -> None:
        flat = flat + flat.sum(1, keepdim=True) * 0  # one that is not finite is so in all groups, and teaches none
        for (part, group), code in zip(self._groups(flat), codes.unbind(1), strict=True):
            part.learn_from(group, code)

    def start_from(self, flat: Tensor) -> None:
        for part, group in self._groups(flat):
            part.start_from(group)

    def _groups(self, flat: Tensor) -> list[tuple[VectorQuantizer, Tensor]]:
        return list(zip(self.all_parts(), flat.chunk(self.codes_per_position, 1), strict=True))
