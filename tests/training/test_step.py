"""One step: the plain one is what it was, and what is beside it does what it says and no more."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.data.loader import to_model
from avq.errors import UsageError
from avq.models import create_variant
from avq.models.tokenizer import Tokenizer
from avq.training.config import TrainConfig
from avq.training.diagnose import NonFiniteLoss
from avq.training.remarks import remarks
from avq.training.step import TrainStep, learning_rate


def fresh(name: str = "aren-2-rpa-mean", size: int = 32, **settings: Any) -> Tokenizer:
    torch.manual_seed(0)
    model = create_variant(name, size, width=8, codebook_size=16, **settings)
    model.train()
    return model


def batches(count: int, images: int = 8, size: int = 32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(256, (images, size, size, 3), dtype=torch.uint8, generator=generator) for _ in range(count)]


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"steps": 40, "batch_size": 8, "learning_rate": 1e-3, "precision": "float32", **settings})


def stepped(model: Tokenizer, settings: TrainConfig, count: int = 3, plain_descent: bool = False) -> TrainStep:
    step = TrainStep(model, settings, "cpu")
    if plain_descent:
        step.optimisers["model"] = torch.optim.SGD(model.parameters())
    torch.manual_seed(5)
    model.initialise_codebooks(to_model(batches(1)[0]))
    for index, batch in enumerate(batches(count)):
        step(batch, index, check=True)
    return step


def differ(a: nn.Module, b: nn.Module) -> float:
    """The largest relative difference of two state dicts."""
    mine, theirs = a.state_dict(), b.state_dict()
    return max(
        ((mine[name] - theirs[name]).float().norm() / (theirs[name].float().norm() + 1e-8)).item() for name in mine
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_plain_step_is_bit_equal_to_one_written_out(precision: str) -> None:
    settings = config(precision=precision)
    model, twin = fresh(), fresh()
    step = stepped(model, settings)
    twin = twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        twin.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=True
    )
    torch.manual_seed(5)
    twin.initialise_codebooks(to_model(batches(1)[0]))
    for index, batch in enumerate(batches(3)):
        optimiser.param_groups[0]["lr"] = learning_rate(settings, index)
        images = to_model(batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            result = twin(images)
        loss = F.l1_loss(result.images.float(), images)
        for term in result.losses.values():
            loss = loss + term
        loss.backward()
        nn.utils.clip_grad_norm_(twin.parameters(), settings.grad_clip)
        optimiser.step()
        optimiser.zero_grad()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in twin.state_dict().items())
    assert list(step.modules) == list(step.optimisers) == ["model"]
    assert set(step.logs()) == {"loss-mae", "loss-quantizer-1", "loss-quantizer-2"}


ADVERSARIAL = {"loss-adversarial", "loss-discriminator", "discriminator-real", "discriminator-fake",
               "discriminator-accuracy"}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"adversarial": "bce"}, set()),
        ({"adversarial": "hinge", "discriminator": "pix2pix", "spectral_norm": True}, set()),
        ({"adversarial": "lsgan", "adaptive_weight": True, "r1_gamma": 1.0}, {"adaptive-weight", "loss-r1"}),
    ],
)
def test_both_sides_learn(settings: dict[str, Any], more: set[str]) -> None:
    step = stepped(fresh(), config(**settings), 2)
    logs = step.logs()
    assert set(logs) == {"loss-mae", "loss-quantizer-1", "loss-quantizer-2"} | ADVERSARIAL | more
    assert all(value.ndim == 0 and not value.requires_grad and value.isfinite() for value in logs.values())
    assert set(step.modules) == set(step.optimisers) == {"model", "discriminator"}
    weights = next(step.modules["discriminator"].parameters()).detach().clone()
    step(batches(1)[0], 5)
    assert not torch.equal(weights, next(step.modules["discriminator"].parameters()))


def test_the_discriminator_distinguishes_noise_from_its_reconstruction() -> None:
    step = stepped(fresh("aren-1"), config(adversarial="bce", discriminator_learning_rate=3e-3), 12)
    logs = step.logs()
    assert logs["discriminator-accuracy"] > 0.9
    assert logs["loss-discriminator"] < math.log(2)
    assert logs["discriminator-real"] > logs["discriminator-fake"]


def test_before_its_start_nothing_is_adversarial() -> None:
    plain, late = fresh(), fresh()
    stepped(plain, config())
    step = stepped(late, config(adversarial="bce", disc_start=3))
    assert differ(late, plain) == 0
    assert not ADVERSARIAL & set(step.logs())
    step(batches(1)[0], 3)
    assert set(step.logs()) >= ADVERSARIAL


def test_a_weight_of_nothing_leaves_the_model_as_it_would_be() -> None:
    plain, idle = fresh(), fresh()
    stepped(plain, config(), 2)
    stepped(idle, config(adversarial="bce", adversarial_weight=0.0, discriminator="pix2pix"), 2)
    assert differ(idle, plain) < 1e-5


def test_the_adaptive_weight_is_the_ratio_of_gradient_norms_at_the_last_layer() -> None:
    model = fresh("aren-1", codebook="gradient")
    step = TrainStep(model, config(adversarial="lsgan", adaptive_weight=True, spectral_norm=True), "cpu")
    opponent = step.modules["discriminator"].eval()  # no dropout, no power iteration: the two passes agree
    batch = batches(1)[0]
    images = to_model(batch)
    result = model(images)
    last = model.decoder[-1].weight  # type: ignore[index, union-attr]
    adversarial = (opponent(torch.cat([images, result.images]))[8:] - 1).square().mean()
    main = F.l1_loss(result.images, images)
    norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (main, adversarial)]
    step(batch, 0)
    assert step.logs()["adaptive-weight"].item() == pytest.approx((norms[0] / (norms[1] + 1e-4)).item(), rel=1e-3)


@pytest.mark.parametrize("codebook", ["gradient", "ema"])
def test_slices_add_up_to_the_batch(codebook: str) -> None:
    whole, sliced = fresh(codebook=codebook), fresh(codebook=codebook)
    # Adam's first steps are a gradient's sign, which rounding decides where there is none
    a = stepped(whole, config(learning_rate=0.3), 2, plain_descent=True)
    b = stepped(sliced, config(learning_rate=0.3, grad_accum_steps=4), 2, plain_descent=True)
    assert differ(sliced, whole) < 1e-4
    assert a.logs().keys() == b.logs().keys()
    assert all(a.logs()[name].item() == pytest.approx(b.logs()[name].item(), rel=1e-3) for name in a.logs())


@pytest.mark.parametrize("block", ["v1", "v2"])
def test_recomputed_activations_change_nothing(block: str) -> None:
    plain, recomputed = fresh(block=block), fresh(block=block)
    stepped(plain, config())
    stepped(recomputed, config(checkpoint_activations=True))
    assert differ(recomputed, plain) == 0


def test_recomputed_activations_are_not_saved() -> None:
    def saved_values(**settings: Any) -> int:
        step = TrainStep(fresh("aren-1-rpa-mean"), config(**settings), "cpu")
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            step.reconstruct(to_model(batches(1)[0]))
        assert not any("forward" in vars(module) for module in step.model.modules())  # nothing is left on the model
        return sum(sizes)

    assert saved_values(checkpoint_activations=True) < 0.6 * saved_values()


@pytest.mark.parametrize("fails", [False, True])
def test_after_recomputing_a_model_is_copied_and_pickled_as_before(fails: bool) -> None:
    step = stepped(fresh(), config(checkpoint_activations=True))
    if fails:
        with step.model.decoder.register_forward_pre_hook(lambda *_: 1 / 0), pytest.raises(ZeroDivisionError):  # type: ignore[union-attr]
            step(batches(1)[0], 3)
    torch.save(step.model, io.BytesIO())
    twin, images = copy.deepcopy(step.model).eval(), to_model(batches(1)[0])
    expected = twin(images).images
    for parameter in step.model.parameters():
        parameter.data.zero_()
    assert torch.equal(twin(images).images, expected)


@pytest.mark.parametrize("slices", [1, 4])
@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("stages.1.0.skip", r"output of stages.1.0.skip \(encoder level 2\)"),
        ("projections.0", r"output of projections.0 \(encoder level 1\)"),
        ("decoder.2", r"output of decoder.2 \(decoder\)"),
    ],
)
def test_a_nan_is_named_where_it_begins_and_leaves_no_trace(where: str, words: str, slices: int) -> None:
    """In one latent of the first slice; weights, running statistics and gradients are as before the step."""
    model = fresh(block="v2")
    settings = config(adversarial="bce", grad_accum_steps=slices)
    step = stepped(model, settings)
    seen: list[float] = []

    def poison(_module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        seen.append(inputs[0].sum().item())
        spoiled = output.clone()
        spoiled[0, :, 0, 0] += torch.nan if slices == 1 or seen[-1] == seen[0] else 0
        return spoiled

    before = {name: copy.deepcopy(module.state_dict()) for name, module in step.modules.items()}
    with model.get_submodule(where).register_forward_hook(poison), pytest.raises(NonFiniteLoss, match=words) as caught:
        step(batches(1)[0], 3, check=True)
    assert "at step 4 of 40" in str(caught.value)
    for name, module in step.modules.items():
        changed = {key for key, value in module.state_dict().items() if not torch.equal(value, before[name][key])}
        assert {key.partition(".")[0] for key in changed} <= {"quantizers"}
        assert all(tensor.isfinite().all() for tensor in module.state_dict().values())
    step(batches(1)[0], 3, check=True)  # who catches it may go on


def test_a_gradients_nan_is_named_where_it_begins() -> None:
    model = fresh()
    step = stepped(model, config())

    def poison(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * torch.nan)

    model.get_submodule("decoder.1").register_forward_hook(poison)
    with pytest.raises(NonFiniteLoss, match=r"gradient of decoder.1.skip.weight \(decoder\)"):
        step(batches(1)[0], 3, check=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_refused_beforehand(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match=f"^aren-2: its weights are {dtype}, .* train model.float\\(\\)"):
        TrainStep(fresh().to(dtype), config(), "cpu", "aren-2")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_of_float64_train_as_those_of_float32(precision: str) -> None:
    double, plain = fresh().double(), fresh()
    stepped(double, config(precision="float32"), 2)
    stepped(plain, config(precision="float32"), 2)
    assert differ(double.float(), plain) < 1e-2
    assert stepped(fresh().double(), config(precision=precision)).logs()["loss-mae"].isfinite()


def test_a_model_that_works_in_place_does_not_change_its_target() -> None:
    in_place, plain = fresh(), fresh()
    in_place.register_forward_pre_hook(lambda _model, inputs: (inputs[0].mul_(0.5),))
    plain.register_forward_pre_hook(lambda _model, inputs: (inputs[0] * 0.5,))
    assert stepped(in_place, config()).logs() == stepped(plain, config()).logs()


@pytest.mark.parametrize("slices", [1, 4])
def test_a_frozen_codebook_stays_frozen(slices: int) -> None:
    model = fresh()
    step = TrainStep(model, config(grad_accum_steps=slices), "cpu")
    frozen = model.find_quantizers()[0].eval()
    before = copy.deepcopy(frozen.state_dict())
    step(batches(1)[0], 0)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert [quantizer.training for quantizer in model.find_quantizers()] == [False, True]


def test_a_discriminators_nan_is_named() -> None:
    step = TrainStep(fresh(), config(adversarial="bce", adversarial_weight=0.0), "cpu", "aren-2")
    with torch.no_grad():
        step.modules["discriminator"].get_parameter("layers.0.bias")[0] = torch.nan
    with pytest.raises(NonFiniteLoss, match=r"aren-2: the (discriminator's )?loss is nan"):
        step(batches(1)[0], 0, check=True)


def test_remarks_name_what_went_wrong() -> None:
    sound = {"perplexity-1": 10.0, "discriminator-accuracy": 0.8}
    won, lost = sound | {"discriminator-accuracy": 1.0}, sound | {"perplexity-1": 1.0}
    assert remarks([], [16]) == remarks([sound] * 4, [16]) == remarks([won, won, sound, won], [16]) == []
    assert remarks([sound, sound, won, won], [16]) == [
        "discriminator won outright: at least 100.0 % of its logits are right"
    ]
    assert remarks([sound, lost], [16]) == ["collapsed codebook: level 1 has perplexity 1.00 of 16 at the end"]
