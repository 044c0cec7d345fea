"""Binary codes: lookup-free (LFQ, arXiv 2310.05737, section 3.1) and binary spherical (BSQ, 2406.07548, section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from avq.errors import UsageError
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.entropy import bit_entropies
from avq.models.quantizers.flat import FlatQuantizer, projected, straight_through

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig

_ENTROPY_WEIGHT = 0.1  # of both


def bsq(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "bsq" of one level; the temperature 1 and no commitment loss are those of its public code."""
    return _made(config, spherical=True, temperature=1.0, commitment=0.0)


def lfq(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "lfq" of one level; the temperature 0.01 is that of its authors' public code."""
    return _made(config, spherical=False, temperature=0.01, commitment=config.commitment)


def _made(config: AutoencoderConfig, spherical: bool, temperature: float, commitment: float) -> Quantizer:
    bits = config.codebook_size.bit_length() - 1
    if config.codebook_size != 2**bits:
        line = f"codebook_size must be a power of two with quantizer {config.quantizer}"
        raise UsageError(f"{line}, such as {2**bits} or {2 ** (bits + 1)}, not {config.codebook_size}.")
    weight = _ENTROPY_WEIGHT if config.entropy_weight is None else config.entropy_weight
    inner = BinaryQuantizer(bits, spherical, commitment, weight, config.entropy_temperature or temperature)
    return projected(inner, config.code_dim, bits)


class BinaryQuantizer(FlatQuantizer):
    """Each of log2 K channels becomes one bit, its sign; nothing of size K is ever made.

    LFQ takes the values -1 and 1. BSQ normalises the vector first and takes -1 / sqrt(log2 K) and 1 / sqrt(log2 K).
    Zero counts as negative (LFQ's eq. 3). The gradient passes straight through the sign. Channel 1 is the least bit.

    The loss is `entropy_weight * (E[H(q(c|z))] - H(E[q(c|z)]))`, where q(c|z) is the softmax over codes of
    `-|z - c|^2 / temperature`, with independent bits. So the first entropy is exact as a sum over bits; the second,
    taken as if the bits of E[q] were independent too, is an upper bound. With it comes `commitment * |z - sg(c)|^2`.

    Args:
        bits: log2 K.
        spherical: BSQ, otherwise LFQ.
        commitment: weight of the commitment loss.
        entropy_weight: weight of both entropies.
        temperature: of q. BSQ's paper writes exp(tau z.c): tau = 2 / temperature.
    """

    def __init__(
        self, bits: int, spherical: bool, commitment: float, entropy_weight: float, temperature: float
    ) -> None:
        super().__init__()
        self.codebook_size, self.spherical, self.commitment = 2**bits, spherical, commitment
        self.entropy_weight, self.temperature = entropy_weight, temperature
        self.scale = bits**-0.5 if spherical else 1.0
        self.register_buffer("powers", 2 ** torch.arange(bits), persistent=False)

    powers: Tensor

    def quantize(self, flat: Tensor) -> Quantized:
        z = F.normalize(flat, dim=1) if self.spherical else flat
        bits = flat.detach() > 0
        signs = bits.float() * 2 - 1
        loss = flat.new_zeros(())
        if self.entropy_weight:
            sample, batch = bit_entropies(z * (4 * self.scale / self.temperature), self.training)
            loss = loss + self.entropy_weight * (sample - batch)
        if self.commitment:
            loss = loss + self.commitment * F.mse_loss(z, signs * self.scale)
        return Quantized(straight_through(z, signs) * self.scale, self._number(bits), loss)

    def assign(self, flat: Tensor) -> Tensor:
        return self._number(flat > 0)

    def vectors(self, codes: Tensor) -> Tensor:
        return ((codes[:, None] // self.powers % 2).float() * 2 - 1) * self.scale

    def _number(self, bits: Tensor) -> Tensor:
        return (bits * self.powers).sum(1)
