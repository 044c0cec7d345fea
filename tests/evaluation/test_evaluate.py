"""Evaluation and cost of a model."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import pytest
import torch

from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.errors import AvqError
from avq.evaluation import evaluate as module
from avq.evaluation import knockout
from avq.evaluation.evaluate import evaluate, sample_reconstructions
from avq.external.adapters import adapt
from avq.metrics.measurement import Measurement
from avq.models import Reconstruction, VectorQuantizer, create_variant, variant_config
from avq.models.recipe import Recipe
from avq.models.tokenizer import Tokenizer
from avq.models.zoo import variant_entry
from avq.profiling.cost import deterministic_costs, timed_costs
from avq.training.config import TrainConfig
from avq.training.precision import evaluation_precision, resolve_precision
from avq.training.validation import validate

SMALL = {"width": 8, "codebook_size": 16}


def by_name(rows: list[Measurement]) -> dict[tuple[str, int | None], Measurement]:
    return {(row.metric, row.level): row for row in rows}


def test_mae_is_that_of_the_images_in_unit_range(faces: Dataset) -> None:
    model = create_variant("aren-1", 16, **SMALL)
    rows = by_name(evaluate(model, faces).measurements)
    images = to_model(faces.test.images)
    with torch.no_grad():
        expected = (model(images).images.clamp(-1, 1) - images).double().abs().mean().item() / 2
    assert rows["mae", None].value == pytest.approx(expected, rel=1e-6)
    assert rows["mae", None].n == 24
    assert faces.test.fingerprint in rows["mae", None].protocol


def test_batches_do_not_matter(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_variant("aren-2-rpa-mean", 16, **SMALL)
    results = []
    for batch in (1, 7, 250):
        monkeypatch.setattr(module, "EVALUATION_PIXELS", batch * 16 * 16)
        rows = evaluate(model, faces).measurements
        results.append({(row.metric, row.level): row.value for row in rows if row.value is not None})
    for other in results[1:]:
        assert other == pytest.approx(results[0], rel=1e-5, abs=1e-7)


def test_no_more_than_a_batch_of_images_is_held(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 12 batches and more never more live than the one at work and what is still called by name of the last."""
    monkeypatch.setattr(module, "EVALUATION_PIXELS", 2 * 16 * 16)
    monkeypatch.setattr(knockout, "EVALUATION_PIXELS", 2 * 16 * 16)
    model = create_variant("aren-1-rpa-mean", 16, **SMALL)
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def watch(_model: object, inputs: tuple[torch.Tensor], output: Reconstruction) -> None:
        made.extend(map(weakref.ref, (inputs[0], output.images)))
        alive.append(sum(one() is not None for one in made))

    hook = model.register_forward_hook(watch)
    evaluate(model, faces)
    hook.remove()
    assert len(alive) > 12  # the images, and the training images of `mae-gap`
    assert max(alive) <= 6


def test_the_sample_of_the_knock_out_ends_within_a_batch(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with 48 px: 113 images a batch, of which 2,048 are no multiple."""
    for place in (module, knockout):
        monkeypatch.setattr(place, "EVALUATION_PIXELS", 7 * 16 * 16)
        monkeypatch.setattr(place, "FIRST", 10)
    rows = by_name(evaluate(create_variant("aren-2", 16, **SMALL), faces).measurements)
    assert [rows["knockout-mae", level].n for level in (1, 2)] == [10, 10]


def test_bfloat16_is_close_and_is_stated(faces: Dataset) -> None:
    torch.manual_seed(0)
    model = create_variant("aren-2-rpa-mean", 16, **SMALL)
    exact, close = (evaluate(model, faces, precision=precision).measurements for precision in ("auto", "bfloat16"))
    for one, other in zip(exact, close, strict=True):
        assert other.protocol.replace("precision=bfloat16;", "") == one.protocol
        assert "precision=bfloat16" in other.protocol
    assert close[0].metric == "mae"
    assert close[0].value != exact[0].value
    assert close[0].value == pytest.approx(exact[0].value, rel=1e-2)
    assert evaluation_precision("auto", 64, "cpu") == "float32"
    assert evaluation_precision("auto", 65, "cpu") == resolve_precision("auto", "cpu")


class Wrapped:
    """A plain object that holds an EMA codebook in training mode, works on what it is given in place, or draws."""

    codebook_size = 16

    def __init__(self, in_place: bool = False, draws: bool = False) -> None:
        torch.manual_seed(0)
        self.parts = {"quantizer": VectorQuantizer(16, 3, ema_decay=0.9)}
        self.in_place, self.draws = in_place, draws

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = self.parts["quantizer"](torch.nn.functional.avg_pool2d(images, 4)).codes
        if self.in_place:
            images.mul_(0.5)
        return codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        images = self.parts["quantizer"].decode(codes).repeat_interleave(4, 2).repeat_interleave(4, 3)
        if self.in_place:
            codes.fill_(0)
        return images + 0.01 * torch.randn(()) if self.draws else images


def test_evaluating_twice_gives_the_same_digits_and_moves_nothing(faces: Dataset) -> None:
    holder = Wrapped()
    quantizer = holder.parts["quantizer"]
    before = quantizer.codebook.clone()
    first, second = (evaluate(adapt(holder), faces).measurements for _ in range(2))
    assert first == second
    assert torch.equal(quantizer.codebook, before)
    assert quantizer.training


def halving(name: str, in_place: bool, **settings: str) -> Tokenizer:
    """A variant of our own that halves its images first, and flips its codes before it decodes them."""
    torch.manual_seed(0)
    model = create_variant(name, 16, **SMALL, **settings)
    model.initialise_codebooks(torch.rand(16, 3, 16, 16) * 2 - 1)
    model.register_forward_pre_hook(lambda _model, inputs: (inputs[0].mul_(0.5) if in_place else inputs[0] * 0.5,))
    decode = model.decode
    flipped = [lambda codes: 15 - codes, lambda codes: codes.mul_(-1).add_(15)][in_place]
    model.decode = lambda codes: decode([flipped(level) for level in codes])  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda in_place: adapt(Wrapped(in_place)),
        partial(halving, "aren-2"),
        partial(halving, "aren-3", decoder_input="all"),
    ],
)
def test_a_model_that_works_in_place_changes_no_reference(make: Any, faces: Dataset) -> None:
    assert evaluate(make(False), faces).measurements == evaluate(make(True), faces).measurements
    found = [validate(make(in_place), faces.validation.images, "cpu", "float32") for in_place in (False, True)]
    assert found[0] == found[1]


def test_an_outside_object_cannot_change_the_images_that_it_is_given(faces: Dataset) -> None:
    images = to_model(faces.test.images)
    adapt(Wrapped(in_place=True)).encode(images)
    assert torch.equal(images, to_model(faces.test.images))


def test_a_model_that_gives_other_images_the_second_time_is_refused(faces: Dataset) -> None:
    with pytest.raises(AvqError, match=r"reconstructs the first images otherwise after the evaluation than before"):
        evaluate(adapt(Wrapped(draws=True)), faces)


def test_the_gain_of_attention_is_measured_where_it_stands(faces: Dataset) -> None:
    top = create_variant("aren-2-rpa", 16, attention_levels="top", **SMALL)
    rows = by_name(evaluate(top, faces).measurements)
    assert rows["attention-gain", 2].value > 1  # raw sigmoid over 2x2 pixels
    assert rows["attention-gain", 1].status == "n/a"
    assert not list(top.attentions[1]._forward_hooks)  # type: ignore[index,union-attr]


def test_the_eye_is_measured_where_the_data_has_one(faces: Dataset) -> None:
    assert by_name(evaluate(create_variant("aren-1", 16, **SMALL), faces).measurements)["eye-mae", None].value > 0


def test_samples_are_bytes(faces: Dataset) -> None:
    original, rebuilt = sample_reconstructions(create_variant("aren-1", 16, **SMALL), faces, 3)
    assert original.shape == rebuilt.shape == (3, 16, 16, 3)
    assert rebuilt.dtype == torch.uint8


def test_counted_costs(faces: Dataset) -> None:
    rows = by_name(deterministic_costs(create_variant("vqvae2-rosinality", 32), 32))
    assert rows["params-trainable", None].value == 1_388_867
    assert rows["params-codebook", None].value == 2 * 512 * 64
    assert rows["params-buffers", None].value == 132_096
    assert rows["macs", None].value > 1e6


def test_macs_by_hand() -> None:
    """A k-means baseline at 32x32: 64 patches x K codes x 48 values, and nothing else multiplies."""
    rows = by_name(deterministic_costs(create_variant("patch-kmeans", 32, codebook_size=16), 32))
    assert rows["macs", None].value == 64 * 16 * 48
    assert rows["params-codebook", None].value == 16 * 48
    assert rows["receptive-field", 1].status == "n/a"


def test_latent_sizes_and_the_attention_matrix_by_hand() -> None:
    """Strides 4 and 8 at 32 px: 8x8 and 4x4 codes, so matrices of 64^2 and 16^2 float32 values."""
    rows = by_name(deterministic_costs(create_variant("aren-2-rpa", 32, **SMALL), 32))
    assert [rows["latent-height", level].value for level in (1, 2)] == [8, 4]
    assert [rows["latent-width", level].value for level in (1, 2)] == [8, 4]
    assert [rows["attention-memory-analytic", level].value for level in (1, 2)] == [4 * 64**2, 4 * 16**2]
    for name in ("aren-1", "aren-1-uniform", "aren-1-wide", "patch-kmeans"):
        rows = by_name(deterministic_costs(create_variant(name, 32, **SMALL), 32))
        assert rows["attention-memory-analytic", 1].status == "n/a"
        assert rows["latent-height", 1].value == 8


@pytest.mark.parametrize("name", ["aren-1", "patch-kmeans"])
def test_timed_costs(name: str) -> None:
    rows = by_name(
        timed_costs(
            Recipe(name, 16, variant_config(name, **SMALL), variant_entry(name).factory),
            TrainConfig(batch_size=4, precision="float32"),
            repeats=2,
        )
    )
    assert rows["inference-images-per-s", None].value > 0
    assert rows["peak-memory", None].value > 50
    assert (rows["train-images-per-s", None].status == "n/a") is (name == "patch-kmeans")
    assert "batch=4" in rows["inference-images-per-s", None].protocol
