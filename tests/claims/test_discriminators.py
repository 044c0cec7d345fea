"""The discriminators are the ones that the sources describe."""

from __future__ import annotations

import pytest
import torch

from avq.models.discriminator import PatchDiscriminator


def counts(name: str, spectral: bool = False) -> tuple[int, int]:
    """Trainable values, and running statistics (the float buffers; counters of batches do not count)."""
    made = PatchDiscriminator(name, spectral)
    statistics = sum(b.numel() for b in made.buffers() if b.is_floating_point())
    return sum(p.numel() for p in made.parameters() if p.requires_grad), statistics


def test_the_sibling_codes_patchgan_has_these_counts() -> None:
    """arXiv 2309.13160's code: filters 128, 128, 128, 64, 64, 1, kernel 3, batch normalisation after every one."""
    assert counts("sibling") == (411_075, 1_026)


def test_the_usual_patchgan_has_these_counts() -> None:
    """By hand: 4x4 kernels 3-64-128-256-512-1 with bias, batch normalisation of 128, 256 and 512."""
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 128 + 256 + 512 + 1
    assert counts("pix2pix") == (kernels + 2 * (128 + 256 + 512), 2 * (128 + 256 + 512))


@pytest.mark.parametrize(("name", "side", "field"), [("sibling", 32, 63), ("pix2pix", 30, 70)])
def test_the_grid_of_logits_at_256_and_the_pixels_that_each_sees(name: str, side: int, field: int) -> None:
    made = PatchDiscriminator(name).eval()
    image = torch.randn(1, 3, 256, 256, requires_grad=True)
    logits = made(image)
    assert logits.shape == (1, 1, side, side)
    assert made.logits_side(256) == side
    (gradient,) = torch.autograd.grad(logits[0, 0, side // 2, side // 2], image)
    hit = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
    assert int(hit[-1] - hit[0]) + 1 == field


def test_kinds_in_batches_of_their_own_have_one_mean_logit() -> None:
    """Why real and reconstructed images share a batch: the last batch normalisation sets a batch's mean."""
    torch.manual_seed(0)
    made = PatchDiscriminator("sibling")
    bright, dark = torch.rand(4, 3, 32, 32), -torch.rand(4, 3, 32, 32)
    apart = made(bright).mean() - made(dark).mean()
    together = made(torch.cat([bright, dark])).mean((1, 2, 3))
    assert abs(apart.item()) < 1e-5
    assert abs((together[:4].mean() - together[4:].mean()).item()) > 1e-3


def test_spectral_normalisation_takes_the_place_of_batch_normalisation() -> None:
    made = PatchDiscriminator("sibling", spectral=True)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in made.modules())
    with torch.no_grad():
        for _ in range(100):
            made(torch.randn(1, 3, 32, 32))
    weight = made.layers[0].weight.flatten(1)
    assert abs(torch.linalg.matrix_norm(weight, 2).item() - 1) < 0.02
