"""Published numbers of the models that the zoo calls as published."""

from __future__ import annotations

import pytest
from torch import nn

from avq.models import create_variant, variant_config


def test_the_best_known_port_of_vqvae2_has_these_counts() -> None:
    model = create_variant("vqvae2-rosinality", image_size=256)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 1_388_867
    assert sum(b.numel() for b in model.buffers()) == 132_096


def test_vqvae2_as_published() -> None:
    """arXiv 1906.00446, table 1: latents 64x64 and 32x32 at 256, hidden 128, residual 64, K 512, D 64, beta 0.25."""
    model = create_variant("vqvae2", image_size=256)
    assert model.latent_sizes(256) == [(64, 64), (32, 32)]  # type: ignore[operator]
    published = {
        "width": 128, "residual_width": 64, "codebook_size": 512, "code_dim": 64, "commitment": 0.25,
        "ema_decay": 0.99, "decoder_input": "all",
    }  # fmt: skip
    assert variant_config("vqvae2").items() >= published.items()


def test_vqvae_as_published() -> None:
    """arXiv 1711.00937, section 4.1: two 4x4 stride-2 convolutions, two residual blocks, 256 units, K 512."""
    assert variant_config("vqvae").items() >= {"width": 256, "codebook_size": 512, "commitment": 0.25}.items()
    stage = create_variant("vqvae").stages[0]  # type: ignore[index]
    strided = [m for m in stage.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]  # type: ignore[union-attr]
    assert [(m.kernel_size, m.out_channels) for m in strided] == [((4, 4), 256)] * 2


@pytest.mark.parametrize(("levels", "fields"), [(1, [35]), (2, [35, 91]), (3, [35, 91, 203])])
def test_the_receptive_fields_of_the_aren_backbone(levels: int, fields: list[int]) -> None:
    """By hand: a 3x3 convolution adds 2 px times the stride so far; base 7, level 1 at 35, then 91 and 203 pixels."""
    from avq.profiling.cost import deterministic_costs

    rows = deterministic_costs(create_variant(f"aren-{levels}", width=8), 32)
    assert [row.value for row in rows if row.metric == "receptive-field"] == fields
