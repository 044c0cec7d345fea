"""A training step of a quantizer, ours and that of vector-quantize-pytorch, on the same latents."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from avq.models.quantizers.vq import VectorQuantizer

Size = tuple[int, int, int, int]  # batch, height, width, channels


def ours(dim: int, codebook_size: int) -> nn.Module:
    return VectorQuantizer(codebook_size, dim, ema_decay=0.99, commitment=0.25)


def peer(dim: int, codebook_size: int) -> nn.Module:
    """The same quantizer: EMA 0.99, commitment 0.25, its extras off, rotation trick among them."""
    from vector_quantize_pytorch import VectorQuantize

    module: nn.Module = VectorQuantize(
        dim=dim,
        codebook_size=codebook_size,
        decay=0.99,
        commitment_weight=0.25,
        accept_image_fmap=True,
        kmeans_init=False,
        rotation_trick=False,
        threshold_ema_dead_code=0,
    )
    return module


def step(which: str, size: Size, codebook_size: int, training: bool) -> Callable[[], object]:
    """A call that quantizes: forward, statistics and backward where `training`, else forward in eval mode.

    Latents are channels-last, which neither has to copy.
    """
    torch.manual_seed(0)
    batch, height, width, dim = size
    latents = torch.randn(batch, dim, height, width).to(memory_format=torch.channels_last).requires_grad_(training)
    gradient = torch.randn_like(latents)
    module = {"ours": ours, "peer": peer}[which](dim, codebook_size).train(training)

    def train() -> object:
        quantized, _codes, loss = module(latents)
        return torch.autograd.grad([quantized, loss], latents, [gradient, torch.ones_like(loss)])

    @torch.no_grad()
    def infer() -> object:
        return module(latents)

    return train if training else infer
