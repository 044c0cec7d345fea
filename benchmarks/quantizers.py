"""A training step of a quantizer, ours and that of vector-quantize-pytorch, on the same latents."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from avq.models.config import AutoencoderConfig
from avq.models.quantizers.registry import QUANTIZERS
from avq.registry import load

Size = tuple[int, int, int, int]  # batch, height, width, channels

LEVELS = {256: [8, 8, 4], 1024: [4, 4, 4, 4, 4], 8192: [8, 8, 8, 4, 4], 2**18: [8] * 6}
"""FSQ's, whose product is the codebook size."""


def ours(kind: str, dim: int, codebook_size: int) -> nn.Module:
    """A quantizer of the suite: EMA 0.99, commitment 0.25, no restarts; `rotation` is `vq` with that gradient."""
    settings = {"gradient": "rotation"} if kind == "rotation" else {"quantizer": kind}
    config = AutoencoderConfig(code_dim=dim, codebook_size=codebook_size, dead_code_reset=False, **settings)
    entry = QUANTIZERS[config.quantizer]
    own = {"fsq": {"fsq_levels": LEVELS[codebook_size]}, "residual": {"residual_shared": False}}
    module: nn.Module = load(entry.factory, kind)(config, **{**entry.settings, **own.get(kind, {})})
    return module


def peer(kind: str, dim: int, codebook_size: int) -> nn.Module:
    """The same of vector-quantize-pytorch, its extras off."""
    import vector_quantize_pytorch as library

    ema = {"decay": 0.99, "commitment_weight": 0.25, "threshold_ema_dead_code": 0, "rotation_trick": kind == "rotation"}
    makers: dict[str, Callable[[], nn.Module]] = {
        "fsq": lambda: library.FSQ(LEVELS[codebook_size], dim=dim),
        "lfq": lambda: library.LFQ(dim=dim, codebook_size=codebook_size, commitment_loss_weight=0.25),
        "bsq": lambda: library.LFQ(dim=dim, codebook_size=codebook_size, spherical=True),
        "simvq": lambda: library.SimVQ(dim, codebook_size, channel_first=True, rotation_trick=False),
        "residual": lambda: _Rows(library.ResidualVQ(dim=dim, num_quantizers=2, codebook_size=codebook_size, **ema)),
    }
    plain = partial(library.VectorQuantize, dim=dim, codebook_size=codebook_size, accept_image_fmap=True, **ema)
    return makers.get(kind, plain)()


class _Rows(nn.Module):
    """A quantizer of sequences as one of images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, codes, losses = self.inner(latents.flatten(2).transpose(1, 2))
        return vectors.transpose(1, 2).view_as(latents), codes, losses.sum()


def step(which: str, size: Size, codebook_size: int, training: bool, kind: str = "vq") -> Callable[[], object]:
    """A call that quantizes: forward, statistics and backward where `training`, else forward in eval mode.

    Latents are channels-last, which neither has to copy.
    """
    torch.manual_seed(0)
    batch, height, width, dim = size
    latents = torch.randn(batch, dim, height, width).to(memory_format=torch.channels_last).requires_grad_(training)
    gradient = torch.randn_like(latents)
    module = {"ours": ours, "peer": peer}[which](kind, dim, codebook_size).train(training)

    def train() -> object:
        quantized, _codes, *losses = module(latents)
        losses = [loss for loss in losses if loss.requires_grad]  # FSQ has none
        return torch.autograd.grad([quantized, *losses], latents, [gradient, *map(torch.ones_like, losses)])

    @torch.no_grad()
    def infer() -> object:
        return module(latents)

    return train if training else infer
