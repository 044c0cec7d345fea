"""Quantizers beside vector-quantize-pytorch (extra `peers`): where it does what papers say, and where it departs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.quantizers.binary import BinaryQuantizer
from avq.models.quantizers.entropy import bit_entropies
from avq.models.quantizers.fsq import FiniteScalar
from avq.models.quantizers.nearest import code_vectors
from avq.models.quantizers.residual import ResidualQuantizer
from avq.models.quantizers.simvq import SimVQ
from avq.models.quantizers.vq import VectorQuantizer

peer: Any = pytest.importorskip(
    "vector_quantize_pytorch", reason="the peer is not installed: pip install 'avq-bench[peers]'"
)
K, DIM = 32, 8


def latents(seed: int = 0) -> Tensor:
    return torch.randn(4, DIM, 6, 6, generator=torch.Generator().manual_seed(seed))


def flat(z: Tensor) -> Tensor:
    return z.flatten(2).transpose(1, 2)


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1e-9)


def of_peer(**settings: Any) -> Any:
    """A VectorQuantize or ResidualVQ with the paper's EMA codebook and none of the library's extras."""
    kind = peer.ResidualVQ if "num_quantizers" in settings else peer.VectorQuantize
    plain = {"decay": 0.99, "commitment_weight": 0.25, "rotation_trick": False, "threshold_ema_dead_code": 0}
    return kind(dim=DIM, codebook_size=K, **plain, **settings)


def like(theirs: Any) -> VectorQuantizer:
    ours = VectorQuantizer(K, DIM, 0.99, 0.25)
    ours.codebook.copy_(theirs.codebook)
    ours.code_sums.copy_(theirs.codebook)
    return ours


def test_vq_over_fifty_steps() -> None:
    theirs = of_peer()
    ours = like(theirs)
    for step in range(50):
        mine, his = ours(latents(step)), theirs(flat(latents(step)))
        assert torch.equal(mine.codes.flatten(1), his[1])
        close(mine.loss, his[2])
    close(ours.codebook, theirs.codebook, 1e-4)


def test_residual_over_fifty_steps() -> None:
    theirs = of_peer(num_quantizers=3)
    ours = ResidualQuantizer([like(layer) for layer in theirs.layers], 3, dropout=False)
    for step in range(50):
        mine, his = ours(latents(step)), theirs(flat(latents(step)))
        assert torch.equal(mine.codes.flatten(1, 2), his[1])
        close(flat(mine.latents), his[0])
        close(mine.loss, his[2].sum())


def test_the_rotation_trick() -> None:
    z, e, gradient = (torch.randn(50, DIM, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    mine, his = z.clone().requires_grad_(), z.clone().requires_grad_()
    ours = code_vectors(mine, e, torch.arange(50), rotated=True)[0]
    theirs = peer.vector_quantize_pytorch.rotate_to(his, e)
    assert torch.equal(ours, e)
    close(theirs, e)  # which it reaches by rounding only
    close(*(torch.autograd.grad(out, at, gradient)[0] for out, at in ((ours, mine), (theirs, his))))


@pytest.mark.parametrize("spherical", [False, True])
def test_lfq_and_bsq(spherical: bool) -> None:
    """The peer takes the batch entropy over all codes, which ours bounds, and LFQ's temperature for both."""
    theirs = peer.LFQ(codebook_size=2**DIM, spherical=spherical, commitment_loss_weight=0.25).train()
    ours = BinaryQuantizer(DIM, spherical, 0.25, 0.0, 0.01)
    z = 0.05 * latents()
    mine, (his, breakdown) = ours(z), theirs(z, return_loss_breakdown=True)
    close(mine.latents, his.quantized)
    close(mine.loss, 0.25 * breakdown.commitment)
    assert torch.equal(mine.codes, sum((his.indices >> bit & 1) << DIM - 1 - bit for bit in range(DIM)))
    rows = flat(z).flatten(0, 1)
    scale = DIM**-0.5 if spherical else 1.0
    sample, batch = bit_entropies((F.normalize(rows) if spherical else rows) * scale * 400, over_ranks=False)
    close(sample, breakdown.per_sample_entropy, 2e-3)  # it clamps probabilities at 1e-5
    assert batch >= breakdown.batch_entropy


def test_simvq_departs_by_its_rotation_and_a_map_without_bias() -> None:
    theirs = peer.SimVQ(DIM, K, channel_first=True, rotation_trick=False)
    assert theirs.code_transform.bias is None
    ours = SimVQ(K, DIM, 0.25)
    ours.frozen.copy_(theirs.frozen_codebook)
    ours.layer.weight.data.copy_(theirs.code_transform.weight)
    nn.init.zeros_(ours.layer.bias)
    mine, his = ours(latents()), theirs(latents())
    assert torch.equal(mine.codes, his[1])
    close(mine.latents, his[0])
    close(mine.loss, his[2])
    assert peer.SimVQ(DIM, K).rotation_trick


def test_fsq_departs_by_the_sign_of_epsilon_and_by_atanh() -> None:
    """With both as in the peer the codes are its own; with the paper's a few differ."""
    levels = [8, 6, 5, 4, 3, 7, 5, 4]
    theirs, ours = peer.FSQ(levels), FiniteScalar(levels)
    codes = theirs(latents())[1].long()
    different = (ours(latents()).codes != codes).float().mean()
    assert 0 < different < 0.1
    ours.half_width.copy_((ours.levels - 1) * (1 + 1e-3) / 2)
    ours.shift.copy_(torch.atanh(ours.offset / ours.half_width))
    assert torch.equal(ours(latents()).codes, codes)
