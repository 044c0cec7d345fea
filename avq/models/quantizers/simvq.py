"""SimVQ (arXiv 2411.02038, section 4): a frozen codebook under one linear layer that learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import FlatQuantizer, projected
from avq.models.quantizers.kmeans import kmeans
from avq.models.quantizers.nearest import code_vectors, nearest_codes

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig


def from_config(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "simvq" of one level."""
    dim = config.quantizer_dim or config.code_dim
    return projected(SimVQ(config.codebook_size, dim, config.commitment), config.code_dim, dim)


class SimVQ(FlatQuantizer):
    """Replaces each latent vector by the nearest of the K vectors C W + b, where C is frozen and W and b learn.

    The loss is `commitment * |z - sg(e)|^2 + |sg(z) - e|^2`. C is drawn from a normal distribution of variance 1 / D,
    and the layer has a bias, as in the authors' code. With `kmeans_init`, the suite's default, C starts from k-means
    centroids instead.
    """

    def __init__(self, codebook_size: int, dim: int, commitment: float) -> None:
        super().__init__()
        self.codebook_size, self.commitment = codebook_size, commitment
        self.register_buffer("frozen", torch.randn(codebook_size, dim) * dim**-0.5)
        self.layer = nn.Linear(dim, dim)

    frozen: Tensor

    def quantize(self, flat: Tensor) -> Quantized:
        codebook = self.layer(self.frozen)
        codes = nearest_codes(flat.detach(), codebook.detach())
        chosen, to_latents, to_codebook = code_vectors(flat, codebook, codes)
        return Quantized(chosen, codes, self.commitment * to_latents + to_codebook)

    def assign(self, flat: Tensor) -> Tensor:
        return nearest_codes(flat, self.layer(self.frozen))

    def vectors(self, codes: Tensor) -> Tensor:
        vectors: Tensor = self.layer(self.frozen).index_select(0, codes)
        return vectors

    def start_from(self, flat: Tensor) -> None:
        """Start from k-means under an identity layer."""
        self.frozen.copy_(kmeans(flat, self.codebook_size)[0])
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def codebook_values(self) -> int:
        return self.frozen.numel()
