"""Online clustered codebook (CVQ, arXiv 2307.15139, equations 4 to 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.collective import all_sum, from_first, rank, ranks
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import CodebookQuantizer, projected
from avq.models.quantizers.nearest import code_vectors, nearest_codes, tiled

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig

_SHARPNESS, _EPSILON = 10, 1e-3
_MOVING = 1e-8  # a smaller share changes no float32


def from_config(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "cvq" of one level."""
    dim = config.quantizer_dim or config.code_dim
    inner = ClusteredQuantizer(config.codebook_size, dim, config.commitment, config.ema_decay)
    return projected(inner, config.code_dim, dim)


class ClusteredQuantizer(CodebookQuantizer):
    """Replaces each latent vector by the codebook vector at the smallest angle; hardly used ones move onto latents.

    The codebook learns by gradient: the loss is `commitment * |z - sg(e)|^2 + |sg(z) - e|^2`. After a batch each vector
    e_k also becomes (1 - a) e_k + a z_k with a = exp(-10 K N_k / (1 - decay) - 1e-3), where N_k is the running mean of
    its share of uses. The anchor z_k is drawn from the batch with the probabilities softmax(cos(z, e_k)) over its
    vectors: `cos` and `probrandom`, the defaults of the authors' code, whose optional contrastive loss is left out.

    Args:
        codebook_size: K.
        dim: D.
        commitment: beta.
        decay: of N_k.
    """

    def __init__(self, codebook_size: int, dim: int, commitment: float, decay: float) -> None:
        super().__init__()
        self.codebook_size, self.commitment, self.decay = codebook_size, commitment, decay
        self.codebook = nn.Parameter(torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size))
        self.register_buffer("use", torch.zeros(codebook_size))

    use: Tensor

    def quantize(self, flat: Tensor) -> Quantized:
        codes = self.assign(flat.detach())
        chosen, to_latents, to_codebook = code_vectors(flat, self.codebook, codes)
        return Quantized(chosen, codes, self.commitment * to_latents + to_codebook)

    def assign(self, flat: Tensor) -> Tensor:
        return nearest_codes(F.normalize(flat, dim=1), F.normalize(self.codebook.detach(), dim=1))

    def learn_from(self, flat: Tensor, codes: Tensor) -> None:
        counts, wrong = all_sum(torch.bincount(codes, minlength=self.codebook_size).float(), (~flat.isfinite()).sum())
        if wrong:
            return
        self.use.lerp_(counts / counts.sum(), 1 - self.decay)
        share = torch.exp(-_SHARPNESS * self.codebook_size * self.use / (1 - self.decay) - _EPSILON)
        moving = (share > _MOVING).nonzero()[:, 0]
        old = self.codebook.detach()[moving]
        self.codebook[moving] = old.lerp(_anchors(flat, old), share[moving, None])


def _anchors(flat: Tensor, vectors: Tensor) -> Tensor:
    """For each of `vectors` `[M, D]` a row of all ranks' `flat` `[N, D]`, drawn by the softmax of cosines over rows."""
    unit = F.normalize(flat, dim=1)
    drawn, masses = [], []
    for tile in tiled(F.normalize(vectors, dim=1), len(flat)):
        weights = (tile @ unit.t()).exp()
        drawn.append(flat[torch.multinomial(weights, 1)[:, 0]])
        masses.append(weights.sum(1))
    if ranks() == 1 or not drawn:
        return torch.cat([vectors[:0], *drawn])
    mass = vectors.new_zeros(len(vectors), ranks())
    mass[:, rank()] = torch.cat(masses)
    all_sum(mass)
    mine = from_first(torch.multinomial(mass, 1)) == rank()
    return all_sum(torch.where(mine, torch.cat(drawn), 0.0))[0]
