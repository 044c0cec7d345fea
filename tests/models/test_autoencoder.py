"""What the settings of the autoencoder do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avq.models import create_variant
from avq.models.attention import PixelwiseControl, ResidualPixelAttention

SMALL = {"width": 8, "codebook_size": 16}


def images(size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "transposed", "decoder"])
@pytest.mark.parametrize("decoder_input", ["bottom", "all"])
@pytest.mark.parametrize("block", ["v1", "v2"])
def test_every_way_of_joining_levels_trains(resize: str, decoder_input: str, block: str) -> None:
    settings = SMALL | {"resize": resize, "decoder_input": decoder_input, "block": block}
    model = create_variant("aren-3-rpa-mean", **settings)
    model.initialise_codebooks(images())
    result = model.train()(images())
    (result.images.mean() + sum(result.losses.values())).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.decoder_levels == ([1] if decoder_input == "bottom" else [1, 2, 3])


def test_with_the_bottom_alone_the_decoder_ignores_upper_codes() -> None:
    bottom = create_variant("aren-2", **SMALL).eval()
    both = create_variant("aren-2", decoder_input="all", **SMALL).eval()
    for model, same in ((bottom, True), (both, False)):
        codes = model.encode(images())
        changed = [codes[0], (codes[1] + 1) % 16]
        assert torch.equal(model.decode(codes), model.decode(changed)) is same


def test_upper_codes_condition_the_bottom_level() -> None:
    """The image's top codes enter the bottom's projection (RZ2): another upper codebook, other bottom latents."""
    torch.manual_seed(0)
    model = create_variant("aren-2", **SMALL).eval()
    model.initialise_codebooks(images())  # as it begins, one code may be the nearest of all
    before = model.encode(images())[0]
    model.quantizers[1].codebook.mul_(50)  # type: ignore[operator,union-attr]
    assert not torch.equal(before, model.encode(images())[0])


@pytest.mark.parametrize(("where", "has"), [("all", [1, 1, 1]), ("bottom", [1, 0, 0]), ("top", [0, 0, 1])])
def test_attention_stands_where_it_is_asked_for(where: str, has: list[int]) -> None:
    model = create_variant("aren-3-rpa", attention_levels=where, **SMALL)
    assert [int(isinstance(layer, ResidualPixelAttention)) for layer in model.attentions] == has  # type: ignore[union-attr]


def test_the_wide_control_has_exactly_the_attentions_parameters() -> None:
    counts = {
        name: sum(p.numel() for p in create_variant(name, width=8).parameters())
        for name in ("aren-1", "aren-1-rpa", "aren-1-wide", "aren-1-uniform")
    }
    assert counts["aren-1-rpa"] == counts["aren-1-wide"] > counts["aren-1"] == counts["aren-1-uniform"]
    assert isinstance(create_variant("aren-1-wide", width=8).attentions[0], PixelwiseControl)  # type: ignore[index]


def test_the_projected_form_is_its_own_projection() -> None:
    model = create_variant("aren-1-rpa-projected", width=8)
    assert isinstance(model.projections[0], nn.Identity)  # type: ignore[index]
    assert model.attentions[0].g1.in_channels == 8  # type: ignore[index,union-attr]


@pytest.mark.parametrize("kmeans", [True, False])
def test_initialising_changes_the_codebook_alone_and_only_with_kmeans_init(kmeans: bool) -> None:
    model = create_variant("aren-2", block="v2", kmeans_init=kmeans, **SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.initialise_codebooks(images())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    codebooks = {f"quantizers.{i}.{key}" for i in (0, 1) for key in ("codebook", "code_sums", "code_counts")}
    assert changed == (codebooks if kmeans else set())
    assert model.training


def test_with_batch_normalisation_the_codebook_fits_the_latents_of_training() -> None:
    torch.manual_seed(0)
    model = create_variant("aren-1", block="v2", width=8, codebook_size=32)
    x = torch.rand(32, 3, 32, 32) * 2 - 1
    model.initialise_codebooks(x)
    loss = model.train()(x).losses["quantizer-1"] / 0.25
    latents = model.projections[0](model.backbone(x)[0])  # type: ignore[operator,index]
    assert loss < 0.6 * latents.var()


def test_a_preset_that_narrows_vqvae2_narrows_its_residual_blocks_alike() -> None:
    assert create_variant("vqvae2", width=64).config.residual_width == 32  # type: ignore[union-attr]
    assert create_variant("vqvae2", width=64, residual_width=8).config.residual_width == 8  # type: ignore[union-attr]
