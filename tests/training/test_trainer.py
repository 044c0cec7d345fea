"""The loop: it learns, resumes bit-equal, repeats bit-equal, and names what goes wrong."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stopping import stopped_after
from torch import Tensor

from avq.data.loader import Batches, to_model
from avq.data.sources import Dataset
from avq.errors import Stopped, UsageError
from avq.models import create_variant
from avq.models.tokenizer import Tokenizer
from avq.training import trainer
from avq.training.averaging import WeightAverage
from avq.training.checkpoint import load_model, read_tensors, save_model, write_tensors
from avq.training.config import STATE_FILE, TrainConfig
from avq.training.diagnose import NonFiniteLoss
from avq.training.fresh import derive_seed
from avq.training.precision import resolve_precision
from avq.training.step import TrainStep, learning_rate
from avq.training.trainer import OnProgress, Progress, train
from avq.training.validation import validate

CONFIG = TrainConfig(steps=12, batch_size=8, learning_rate=2e-3, validate_every=5, warmup_steps=2)


def fresh(name: str = "aren-2-rpa-mean", seed: int = 0, **settings: object) -> Tokenizer:
    torch.manual_seed(derive_seed(seed, "initialisation"))
    return create_variant(name, 16, width=8, codebook_size=16, **settings)


def same(a: Tokenizer, b: Tokenizer) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


def without_times(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def interrupted_at(
    step: int, monkeypatch: pytest.MonkeyPatch, faces: Dataset, folder: Path, name: str, config: TrainConfig = CONFIG
) -> None:
    def begin(stop: OnProgress) -> None:
        train(fresh(name), faces, config, 0, folder=folder, on_progress=stop)

    stopped_after(step, begin, trainer, monkeypatch)


@pytest.mark.parametrize("step", [1, 4, 5, 11])
@pytest.mark.parametrize("name", ["aren-2-rpa-mean", "vqvae"])
def test_a_run_stopped_anywhere_ends_with_the_same_weights(
    step: int, name: str, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fresh(name)
    curve = train(whole, faces, CONFIG, 0)
    interrupted_at(step, monkeypatch, faces, tmp_path, name)
    assert (tmp_path / STATE_FILE).exists()
    resumed = fresh(name, seed=99)  # its weights come from the checkpoint
    again = train(resumed, faces, CONFIG, 0, folder=tmp_path)
    assert same(whole, resumed)
    assert without_times(curve.rows) == without_times(again.rows)


def as_the_first_release_wrote(tensors: dict[str, Tensor], about: dict[str, Any]) -> tuple[Any, Any]:
    del about["of"]
    respelled = {name.replace("quantizers", "quantisers"): tensor for name, tensor in tensors.items()}
    assert respelled.keys() != tensors.keys()
    assert about["rows"]
    return respelled, json.loads(json.dumps(about).replace("quantizer-", "quantiser-"))


def as_a_gpu_wrote(tensors: dict[str, Tensor], about: dict[str, Any]) -> tuple[Any, Any]:
    return tensors | {"rng-device": torch.zeros(16, dtype=torch.uint8)}, about


@pytest.mark.parametrize("rewrite", [as_the_first_release_wrote, as_a_gpu_wrote])
def test_a_resume_checkpoint_of_another_release_or_device_is_resumed(
    rewrite: Any, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed = fresh(), fresh(seed=99)
    curve = train(whole, faces, CONFIG, 0)
    interrupted_at(5, monkeypatch, faces, tmp_path, "aren-2-rpa-mean")
    write_tensors(tmp_path / STATE_FILE, *rewrite(*read_tensors(tmp_path / STATE_FILE)))
    again = train(resumed, faces, CONFIG, 0, folder=tmp_path)
    assert same(whole, resumed)
    assert without_times(curve.rows) == without_times(again.rows)


def test_the_loop_is_the_plain_one_bit_for_bit(faces: Dataset) -> None:
    """Ranks, averages, compiler and clocks, when off, change no bit: the loop written out without them."""
    looped, plain = fresh(), fresh()
    train(looped, faces, CONFIG, 7)
    torch.manual_seed(derive_seed(7, "sampling"))
    step = TrainStep(plain, CONFIG, "cpu")
    plain.initialise_codebooks(to_model(faces.train.images[torch.randperm(64)]))
    batches = Batches(faces.train, CONFIG.batch_size, derive_seed(7, "data"), faces.card.flip)
    plain.train()
    for number in range(CONFIG.steps):
        step(batches.batch(number), number)
    assert same(looped, plain)


def test_averaged_weights_are_evaluated_saved_and_resumed(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, weight_ema=0.9)
    own, mean = fresh(), fresh()
    train(own, faces, CONFIG, 0)
    rows = train(mean, faces, config, 0).rows
    differ = {name for name, tensor in own.state_dict().items() if not torch.equal(tensor, mean.state_dict()[name])}
    assert differ == {name for name, _ in own.named_parameters()}  # buffers are not averaged
    found = validate(mean.eval(), faces.validation.images, "cpu", resolve_precision("auto", "cpu"))
    assert rows[-1]["validation-mae"] == found["validation-mae"]
    interrupted_at(4, monkeypatch, faces, tmp_path, "aren-2-rpa-mean", config)
    so_far = load_model(tmp_path)
    assert not same(so_far, mean)
    resumed = fresh(seed=99)
    train(resumed, faces, config, 0, folder=tmp_path)
    assert same(mean, resumed)
    best = min(rows, key=lambda row: row["validation-mae"])
    assert same(mean, load_model(tmp_path / "best.safetensors")) == (best is rows[-1])


def test_the_average_is_that_of_its_formula() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0)
        average = WeightAverage(layer, 0.5)
        expected = 0.0
        for update, value in enumerate((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)):
            layer.weight.fill_(value)
            average.update(update)
            decay = min(0.5, (1 + update) / (10 + update))
            expected = decay * expected + (1 - decay) * value
        with average.in_place():
            assert layer.weight.item() == pytest.approx(expected)
        assert layer.weight.item() == 10


def test_best_and_latest_models_are_saved_and_no_more(faces: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, validate_every=2, keep_history=3)
    model, seen = fresh(), {}

    def keep(row: dict[str, float]) -> None:
        assert not model.training
        seen[row["step"]] = (row["validation-mae"], {name: t.clone() for name, t in model.state_dict().items()})

    history = train(model, faces, config, 0, folder=tmp_path, on_point=keep)
    assert [row["step"] for row in history.rows] == list(seen)
    saved = sorted((tmp_path / "history").iterdir())
    assert [path.name for path in saved] == [f"step-{step:08d}.safetensors" for step in (8, 10, 12)]
    assert same(load_model(saved[-1]), model)
    best = min(seen, key=lambda step: seen[step][0])
    weights = load_model(tmp_path / "best.safetensors").state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in seen[best][1].items())


def test_a_training_that_is_out_of_time_stops_and_is_resumed(faces: Dataset, tmp_path: Path) -> None:
    whole = fresh()
    train(whole, faces, CONFIG, 0)
    with pytest.raises(Stopped, match=r"aren: stopped after step 0 of 12$"):
        train(fresh(), faces, CONFIG, 0, variant="aren", folder=tmp_path, stop_at=time.time() - 1)
    with pytest.raises(Stopped, match="nothing is saved without a folder"):
        train(fresh(), faces, CONFIG, 0, stop_at=0.0)
    resumed = fresh(seed=99)
    train(resumed, faces, CONFIG, 0, folder=tmp_path, stop_at=time.time() + 3600)
    assert same(whole, resumed)


def test_the_resume_checkpoint_of_another_training_is_refused(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_at(4, monkeypatch, faces, tmp_path, "aren-2-rpa-mean")
    with pytest.raises(UsageError, match="is not the resume checkpoint of this training"):
        train(fresh("vqvae"), faces, CONFIG, 0, folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "seed", "words"),
    [
        ({"steps": 24}, 0, r"\(steps 12 there, 24 here\); remove it"),
        ({"learning_rate": 1e-3, "loss": "mse"}, 0, "learning_rate 0.002 there, 0.001 here, loss mae there, mse here"),
        ({}, 1, "seed 0 there, 1 here"),
        (None, 0, "training images [0-9a-f]+ there"),
    ],
)
def test_the_resume_checkpoint_of_other_settings_is_refused(
    settings: dict[str, Any] | None, seed: int, words: str, faces: Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    """In one line, and it stays; what does nothing here (`NEEDS`) is no other setting."""
    interrupted_at(4, monkeypatch, faces, tmp_path, "aren-2-rpa-mean")
    state = (tmp_path / STATE_FILE).read_bytes()
    if settings is None:
        faces = replace(faces, train=faces.validation)
    with pytest.raises(UsageError, match=words) as caught:
        train(fresh(), faces, replace(CONFIG, **settings or {}), seed, folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / STATE_FILE).read_bytes() == state


def test_the_models_of_an_earlier_training_do_not_pass_for_the_latest(faces: Dataset, tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "step-00000100.safetensors").touch()
    train(fresh(), faces, replace(CONFIG, keep_history=2), 0, folder=tmp_path)
    assert sorted(path.stem for path in (tmp_path / "history").iterdir()) == ["step-00000010", "step-00000012"]


@pytest.mark.parametrize("weight_ema", [0.0, 0.9])
def test_what_was_measured_last_is_what_the_checkpoint_holds(weight_ema: float, faces: Dataset, tmp_path: Path) -> None:
    """With batch normalisation, whatever the model is asked between training and saving."""
    model = fresh("aren-2-rpa", block="v2")
    rows = train(model, faces, replace(CONFIG, weight_ema=weight_ema, precision="float32"), 0).rows
    model.latent_sizes(16)
    model.attention_computed(16, "cpu")
    validate(model.train(), faces.validation.images, "cpu", "float32")
    save_model(model, tmp_path / "m.safetensors")
    found = validate(load_model(tmp_path / "m.safetensors"), faces.validation.images, "cpu", "float32")
    assert found.items() <= rows[-1].items()


@pytest.mark.parametrize("step", [2, 7])  # before the discriminator begins, and after
def test_a_run_against_a_discriminator_is_resumed_bit_equal(
    step: int, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, adversarial="bce", disc_start=4, spectral_norm=True, weight_ema=0.9)
    whole, resumed = fresh(), fresh(seed=99)
    curve = train(whole, faces, config, 0)
    interrupted_at(step, monkeypatch, faces, tmp_path, "aren-2-rpa-mean", config)
    again = train(resumed, faces, config, 0, folder=tmp_path)
    assert same(whole, resumed)
    assert without_times(curve.rows) == without_times(again.rows)
    assert curve.rows[-1].keys() >= {"loss-mae", "loss-adversarial", "discriminator-accuracy", "validation-mae"}
    assert curve.rows[-1]["loss-discriminator"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about its insides
def test_a_compiled_training_learns_the_same_and_its_compiler_is_not_timed(faces: Dataset) -> None:
    config = replace(CONFIG, precision="float32")
    plain, compiled = fresh("aren-1"), fresh("aren-1")
    expected = train(plain, faces, config, 0)
    began = time.perf_counter()
    history = train(compiled, faces, replace(config, compile="on"), 0)
    assert history.seconds < 0.5 * (time.perf_counter() - began)
    assert type(compiled) is type(plain)
    assert history.rows[-1]["loss"] == pytest.approx(expected.rows[-1]["loss"], rel=1e-3)


def test_a_rerun_is_bit_equal_and_another_seed_is_not(faces: Dataset) -> None:
    models = [fresh(seed=seed) for seed in (0, 0, 1)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, faces, CONFIG, seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_it_learns(faces: Dataset) -> None:
    history = train(fresh("aren-1"), faces, TrainConfig(steps=120, batch_size=16, learning_rate=3e-3), 0)
    curve = [row["validation-mae"] for row in history.rows]
    assert [row["step"] for row in history.rows] == [100, 120]
    assert curve[-1] < 0.14  # an untrained decoder is near 0.25
    assert history.seconds > 0


def test_progress_is_reported(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_REPORTS", 0.0)
    seen: list[Progress] = []
    train(fresh(), faces, CONFIG, 0, on_progress=seen.append)
    assert [p.step for p in seen] == list(range(1, 13))
    assert seen[3].validation_mae is None
    assert 0 < seen[-1].validation_mae < 1
    assert seen[-1].seconds_left == 0
    assert all(p.images_per_s > 0 for p in seen)


def test_a_baseline_is_fitted(faces: Dataset) -> None:
    model = fresh("patch-kmeans")
    assert train(model, faces, CONFIG, 0).rows == []
    assert model.codebook.abs().sum() > 0  # type: ignore[operator,union-attr]


@pytest.mark.parametrize(
    ("spoiled", "value", "words"),
    [
        ("stages.0.0.skip.weight", torch.nan, "the loss is nan .* at step 1 of 12; .*: weight stages.0.0.skip.weight"),
        ("decoder.0.bias", torch.nan, "the loss is nan .* at step 1 of 12; .*: weight decoder.0.bias"),
        ("decoder.0.weight", 3e38, "output of decoder"),
    ],
)
def test_a_nan_or_overflow_names_variant_step_and_where_it_comes_from(
    spoiled: str, value: float, words: str, faces: Dataset
) -> None:
    model = fresh("aren-1")
    with torch.no_grad():
        model.get_parameter(spoiled).fill_(value)
    with pytest.raises(NonFiniteLoss, match=f"^aren-1: .*{words}"):
        train(model, faces, CONFIG, 0, variant="aren-1")


@given(st.integers(1, 500), st.integers(0, 200))
@settings(max_examples=50)
def test_the_learning_rate_rises_then_falls_to_zero(steps: int, warmup: int) -> None:
    config = TrainConfig(steps=steps, warmup_steps=warmup, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert peak <= steps // 10
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_streams_of_a_seed_differ() -> None:
    seeds = {derive_seed(s, stream) for s in range(50) for stream in ("initialisation", "data", "sampling")}
    assert len(seeds) == 150
