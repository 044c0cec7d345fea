"""Residual quantization (arXiv 2203.01941, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avq.errors import UsageError
from avq.models.collective import from_first
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import projected, straight_through
from avq.models.quantizers.several import SeveralCodes
from avq.models.quantizers.vq import VectorQuantizer, plain

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig


def from_config(
    config: AutoencoderConfig, residual_depth: int, residual_shared: bool, residual_dropout: bool
) -> Quantizer:
    """The quantizer "residual" of one level."""
    if residual_depth < 2:
        raise UsageError(f"residual_depth must be at least 2, not {residual_depth}; quantizer vq has one code.")
    dim = config.quantizer_dim or config.code_dim
    parts = [plain(config, dim) for _ in range(1 if residual_shared else residual_depth)]
    return projected(ResidualQuantizer(parts, residual_depth, residual_dropout), config.code_dim, dim)


class ResidualQuantizer(SeveralCodes):
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
            self.all_parts()[0].learn_from(torch.cat(inputs), codes.t().flatten())
            return
        for part, left, code in zip(self.all_parts(), inputs, codes.unbind(1), strict=False):
            part.learn_from(left, code)

    def start_from(self, flat: Tensor) -> None:
        """Start from k-means, depth by depth; a shared codebook from what all depths then quantize."""
        left = flat
        for part in self.all_parts():
            part.start_from(left)
            left = left - part.vectors(part.assign(left))
        if len(self.parts) == 1:
            self.all_parts()[0].start_from(torch.cat(self._inputs(flat, self.assign(flat))))

    def _inputs(self, flat: Tensor, codes: Tensor) -> list[Tensor]:
        """What each depth quantizes, `[N, D]` each."""
        inputs = [flat]
        for part, code in zip(self._depths(), codes.unbind(1)[:-1], strict=False):
            inputs.append(inputs[-1] - part.vectors(code))
        return inputs

    def _depths(self) -> list[VectorQuantizer]:
        return self.all_parts() * (self.codes_per_position // len(self.parts))
