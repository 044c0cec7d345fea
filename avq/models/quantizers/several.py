"""Several codes a position: residual (arXiv 2203.01941, section 3.1) and product quantization (groups of channels)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.collective import from_first
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import FlatQuantizer, projected, straight_through
from avq.models.quantizers.vq import VectorQuantizer, plain

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig


def residual(
    config: AutoencoderConfig, residual_depth: int, residual_shared: bool, residual_dropout: bool
) -> Quantizer:
    """The quantizer "residual" of one level."""
    if residual_depth < 2:
        raise UsageError(f"residual_depth must be at least 2, not {residual_depth}; quantizer vq has one code.")
    dim = config.quantizer_dim or config.code_dim
    parts = [plain(config, dim) for _ in range(1 if residual_shared else residual_depth)]
    return projected(ResidualQuantizer(parts, residual_depth, residual_dropout), config.code_dim, dim)


def product(config: AutoencoderConfig, product_heads: int) -> Quantizer:
    """The quantizer "product" of one level."""
    dim = config.quantizer_dim or config.code_dim
    if product_heads < 2 or dim % product_heads:
        line = f"product_heads must be at least 2 and divide the {dim} channels that are quantized"
        raise UsageError(f"{line}, not {product_heads}.")
    parts = [plain(config, dim // product_heads) for _ in range(product_heads)]
    return projected(ProductQuantizer(parts, product_heads), config.code_dim, dim)


class _SeveralCodes(FlatQuantizer):
    """R codes a position, of as many codebooks or of one that they share."""

    def __init__(self, parts: Sequence[VectorQuantizer], codes_per_position: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.codebook_size, self.codes_per_position = parts[0].codebook_size, codes_per_position

    def codebook_values(self) -> int:
        return sum(part.codebook_values() for part in self._parts())

    def _parts(self) -> list[VectorQuantizer]:
        return cast(list[VectorQuantizer], list(self.parts))


class ResidualQuantizer(_SeveralCodes):
    """Code r is that of what the vectors of codes 1 to r - 1 leave of the latent; a latent becomes the sum of all.

    The loss is the sum over r of `vq`'s, which is `commitment * |z - sg(e_1 + ... + e_r)|^2` with an EMA codebook (the
    paper's eq. 8; its code takes the mean).

    Args:
        parts: one quantizer that all depths share, as in the paper, or one for each.
        depth: R.
        dropout: in training use codes 1 to r only, with r drawn uniformly from 1 to R for each batch (SoundStream,
            arXiv 2107.03312, section III.C, draws it for each example), so that the first codes alone make an image.
    """

    def __init__(self, parts: Sequence[VectorQuantizer], depth: int, dropout: bool) -> None:
        super().__init__(parts, depth)
        self.dropout = dropout

    def quantize(self, flat: Tensor) -> Quantized:
        depth = self.codes_per_position
        if self.dropout and self.training:
            depth = int(from_first(torch.randint(1, depth + 1, (1,), device=flat.device)))
        left, codes, losses = flat, [], []
        for part in self._depths()[:depth]:
            vectors, code, loss = part.quantize(left)
            left = left - vectors.detach()
            codes.append(code)
            losses.append(loss)
        chosen = torch.stack(codes, 1)
        return Quantized(straight_through(flat, self.vectors(chosen).detach()), chosen, torch.stack(losses).sum())

    def assign(self, flat: Tensor) -> Tensor:
        codes = []
        for part in self._depths():
            codes.append(part.assign(flat))
            flat = flat - part.vectors(codes[-1])
        return torch.stack(codes, 1)

    def vectors(self, codes: Tensor) -> Tensor:
        """Of the first codes `[N, r]`, r being up to R."""
        chosen = [part.vectors(code) for part, code in zip(self._depths(), codes.unbind(1), strict=False)]
        return torch.stack(chosen).sum(0)

    def learn_from(self, flat: Tensor, codes: Tensor) -> None:
        inputs = self._inputs(flat, codes)
        if len(self.parts) == 1:
            self._parts()[0].learn_from(torch.cat(inputs), codes.t().flatten())
            return
        for part, left, code in zip(self._parts(), inputs, codes.unbind(1), strict=False):
            part.learn_from(left, code)

    def start_from(self, flat: Tensor) -> None:
        """Start from k-means, depth by depth; a shared codebook from what all depths then quantize."""
        left = flat
        for part in self._parts():
            part.start_from(left)
            left = left - part.vectors(part.assign(left))
        if len(self.parts) == 1:
            self._parts()[0].start_from(torch.cat(self._inputs(flat, self.assign(flat))))

    def _inputs(self, flat: Tensor, codes: Tensor) -> list[Tensor]:
        """What each depth quantizes, `[N, D]` each."""
        inputs = [flat]
        for part, code in zip(self._depths(), codes.unbind(1)[:-1], strict=False):
            inputs.append(inputs[-1] - part.vectors(code))
        return inputs

    def _depths(self) -> list[VectorQuantizer]:
        return self._parts() * (self.codes_per_position // len(self.parts))


class ProductQuantizer(_SeveralCodes):
    """Quantizes R equal groups of channels, each with a codebook of its own; the loss is the mean of theirs."""

    def quantize(self, flat: Tensor) -> Quantized:
        made = [part.quantize(group) for part, group in self._groups(flat)]
        vectors, codes, losses = zip(*made, strict=True)
        return Quantized(torch.cat(vectors, 1), torch.stack(codes, 1), torch.stack(losses).mean())

    def assign(self, flat: Tensor) -> Tensor:
        return torch.stack([part.assign(group) for part, group in self._groups(flat)], 1)

    def vectors(self, codes: Tensor) -> Tensor:
        return torch.cat([part.vectors(code) for part, code in zip(self._parts(), codes.unbind(1), strict=True)], 1)

    def learn_from(self, flat: Tensor, codes: Tensor) -> None:
        flat = flat + flat.sum(1, keepdim=True) * 0  # one that is not finite is so in all groups, and teaches none
        for (part, group), code in zip(self._groups(flat), codes.unbind(1), strict=True):
            part.learn_from(group, code)

    def start_from(self, flat: Tensor) -> None:
        for part, group in self._groups(flat):
            part.start_from(group)

    def _groups(self, flat: Tensor) -> list[tuple[VectorQuantizer, Tensor]]:
        return list(zip(self._parts(), flat.chunk(self.codes_per_position, 1), strict=True))
