"""The losses by their formulas, and clear refusals before any training."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from avq.errors import UsageError
from avq.metrics.weights import ENVIRONMENT_VARIABLE
from avq.training.adversarial import accuracy, discriminator_loss, generator_loss, gradient_penalty
from avq.training.checks import check_losses
from avq.training.config import TrainConfig, effective, step_settings, training_parts

logits = st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4)


@given(logits, logits)
@settings(max_examples=60)
def test_bce_is_the_cross_entropy_of_real_and_fake(real: list[float], fake: list[float]) -> None:
    true, false = torch.tensor(real), torch.tensor(fake)
    ones, zeros = torch.ones(4), torch.zeros(4)
    cross = F.binary_cross_entropy_with_logits
    assert torch.allclose(discriminator_loss("bce", true, false), (cross(true, ones) + cross(false, zeros)) / 2)
    assert torch.allclose(generator_loss("bce", false), cross(false, ones))


def test_hinge_and_lsgan_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx((0.25 + 0.5) / 2)
    assert generator_loss("hinge", fake).item() == pytest.approx(1.5)
    assert discriminator_loss("lsgan", real, fake).item() == pytest.approx(((1 + 0.25) / 2 + 4.5) / 2)
    assert generator_loss("lsgan", fake).item() == pytest.approx((16 + 1) / 2)


@pytest.mark.parametrize("kind", ["bce", "hinge", "lsgan"])
def test_losses_pull_in_opposite_directions(kind: str) -> None:
    fake = torch.tensor([0.2, 0.4], requires_grad=True)
    (up,) = torch.autograd.grad(generator_loss(kind, fake), fake)
    (down,) = torch.autograd.grad(discriminator_loss(kind, torch.ones(2), fake), fake)
    assert (up < 0).all()
    assert (down > 0).all()


def test_accuracy_counts_both_kinds_alike() -> None:
    assert accuracy("bce", torch.tensor([1.0, 1.0]), torch.tensor([-1.0, 1.0])).item() == 0.75
    assert accuracy("lsgan", torch.tensor([0.4]), torch.tensor([0.4])).item() == 0.5


def test_r1_of_a_linear_score_is_the_squared_norm_of_its_weights() -> None:
    images = torch.randn(3, 3, 4, 4, requires_grad=True)
    weight = torch.randn(3, 4, 4, requires_grad=True)
    penalty = gradient_penalty(images, (images * weight).sum((1, 2, 3), keepdim=True))
    assert torch.allclose(penalty, weight.square().sum())
    assert torch.autograd.grad(penalty, weight)[0].abs().sum() > 0


def test_missing_weights_and_small_images_are_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("avq.metrics.weights.resource_dir", lambda _name: tmp_path)
    with pytest.raises(UsageError, match=r"perceptual = 'squeeze': .*squeezenet1_1"):
        check_losses(TrainConfig(perceptual="squeeze"), 32)
    with pytest.raises(UsageError, match="at least 17 px"):
        check_losses(TrainConfig(perceptual="squeeze"), 16)
    with pytest.raises(UsageError, match="larger images than 16 px"):
        check_losses(TrainConfig(adversarial="bce", discriminator="pix2pix"), 16)
    check_losses(TrainConfig(adversarial="bce"), 16)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"grad_accum_steps": 3}, "grad_accum_steps=3 does not divide batch_size=64"),
        ({"grad_accum_steps": 0}, "grad_accum_steps must be at least 1"),
        ({"adversarial_weight": -1.0}, "adversarial_weight must not be negative"),
        ({"discriminator_learning_rate": 0.0}, "discriminator_learning_rate must be above 0"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_settings_that_do_nothing_are_at_their_default() -> None:
    plain = effective(TrainConfig())
    assert plain == asdict(TrainConfig())
    assert effective(TrainConfig(adversarial_weight=0.5, r1_gamma=1.0, perceptual_weight=2.0)) == plain
    full = TrainConfig(adversarial="bce", adversarial_weight=0.5, grad_accum_steps=2, batch_size=8)
    assert TrainConfig(**effective(full)) == full
    assert step_settings(effective(full)) == {"adversarial": "bce", "grad_accum_steps": 2}
    assert step_settings(plain) == {}
    assert training_parts(plain) == []
    assert training_parts(effective(full)) == ["avq.training.adversarial:Adversary"]
