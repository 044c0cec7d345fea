"""Index backpropagation quantization (IBQ, arXiv 2412.02692, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.entropy import recomputed, softmax_entropies
from avq.models.quantizers.flat import CodebookQuantizer, projected, straight_through
from avq.models.quantizers.nearest import aligned_codes, tiled

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig


def from_config(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "ibq" of one level; entropy weight 0.05 and temperature 0.01 are the paper's."""
    dim = config.quantizer_dim or config.code_dim
    weight = 0.05 if config.entropy_weight is None else config.entropy_weight
    inner = IBQ(config.codebook_size, dim, config.commitment, weight, config.entropy_temperature or 0.01)
    return projected(inner, config.code_dim, dim)


class IBQ(CodebookQuantizer):
    """Replaces each latent vector z by the codebook vector e with the largest dot product.

    The gradient of the choice is that of p = softmax(z E^T) in its place, so it reaches z and all of the codebook. With
    e as chosen by that gradient and e' = E[code] the loss is, as in the authors' code,
    `|e - z|^2 + |sg(e') - z|^2 + commitment * |e' - sg(z)|^2`, and `entropy_weight * (E[H(q)] - H(E[q]))` of
    q = softmax(z E^T / temperature). Nothing of size N x K is held.
    """

    def __init__(
        self, codebook_size: int, dim: int, commitment: float, entropy_weight: float, temperature: float
    ) -> None:
        super().__init__()
        self.codebook_size, self.commitment = codebook_size, commitment
        self.entropy_weight, self.temperature = entropy_weight, temperature
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))

    def quantize(self, flat: Tensor) -> Quantized:
        def expected(tile: Tensor) -> Tensor:
            return F.linear(tile, self.codebook).softmax(1) @ self.codebook.detach()

        codes = self.assign(flat.detach())
        chosen = self.vectors(codes)
        soft = torch.cat([recomputed(expected, tile) for tile in tiled(flat, self.codebook_size)])
        vectors = straight_through(soft, chosen)
        loss = F.mse_loss(vectors, flat) + F.mse_loss(flat, chosen.detach())
        loss = loss + self.commitment * F.mse_loss(chosen, flat.detach())
        if self.entropy_weight:
            weight = self.codebook / self.temperature
            sample, batch = softmax_entropies(flat, weight, weight.new_zeros(len(weight)), self.training)
            loss = loss + self.entropy_weight * (sample - batch)
        return Quantized(vectors, codes, loss)

    def assign(self, flat: Tensor) -> Tensor:
        return aligned_codes(flat, self.codebook.detach())
