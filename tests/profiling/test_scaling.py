"""One point: what is counted against the formula, what is measured, and what happens where memory runs out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from avq.models.zoo import variant_config
from avq.profiling import scaling
from avq.profiling.counting import Rates
from avq.profiling.scaling import PASSES, Point, Prediction, make_call, measure_point, predict_points

RATES = Rates(1e10, 1e10)
POINT = Point("attention", 32, "softmax", "dense", "forward", 1, 16, 16, 2, 1, "cpu")
SMALL = {"width": 8, "code_dim": 8, "codebook_size": 16}
MODEL = replace(POINT, subject="aren-1-rpa", latent_size=8, similarity="sigmoid", channels=0, filters=0,
                model=variant_config("aren-1-rpa", **SMALL))  # fmt: skip


def predicted(point: Point) -> Prediction:
    (found,), rates = predict_points([point], RATES)
    assert rates is RATES
    assert not found.reason
    return found


@pytest.mark.parametrize(("part", "matrices"), [("forward", 2), ("training-step", 3)])
@pytest.mark.parametrize("similarity", ["softmax", "sigmoid"])
def test_dense_is_counted_as_so_many_matrices(part: str, matrices: int, similarity: str) -> None:
    """At 256x256 a matrix is 16 GiB: forward holds logits and weights, backward weights and two gradients."""
    found = predicted(replace(POINT, latent_size=256, part=part, similarity=similarity))
    assert matrices <= found.memory / 2**14 < matrices + 0.01
    products = 2 * 2 * 65536**2 * 16 * (1 if part == "forward" else 3)
    assert found.flops == pytest.approx(products, rel=0.01)


@pytest.mark.parametrize("similarity", ["softmax", "sigmoid"])
@pytest.mark.parametrize("part", PASSES)
def test_linear_is_continued_as_it_is_counted_directly(
    similarity: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = replace(POINT, latent_size=64, similarity=similarity, implementation="linear", part=part, channels=32)
    continued = predicted(point)
    monkeypatch.setattr(scaling, "_COUNTED_SIDES", (64,))
    direct = predicted(point)
    assert continued.memory == pytest.approx(direct.memory, rel=0.02)
    assert continued.flops == pytest.approx(direct.flops, rel=1e-6)
    assert continued.seconds == pytest.approx(direct.seconds, rel=0.1)
    dense = predicted(replace(point, implementation="dense"))
    assert direct.memory < dense.memory / 10
    assert dense.flops <= direct.flops < 2.5 * dense.flops  # weights are computed again


def test_auto_is_counted_as_what_it_picks() -> None:
    dense = predicted(POINT)
    assert predicted(replace(POINT, implementation="auto")) == dense
    large = replace(POINT, latent_size=128, implementation="auto")
    assert predicted(large) == predicted(replace(large, implementation="linear"))


@pytest.mark.parametrize("part", PASSES)
def test_a_whole_variant_is_counted_and_measured(part: str) -> None:
    point = replace(MODEL, part=part)
    outcome = measure_point(point, predicted(point))
    assert not outcome.reason
    assert len(outcome.seconds) == len(outcome.memory) == 2
    assert outcome.gain is None


def test_a_trained_model_takes_its_step_as_training_does() -> None:
    from avq.training.step import TrainStep

    made = make_call(replace(MODEL, part="training-step"))
    step = next(cell.cell_contents for cell in made.call.__closure__ if isinstance(cell.cell_contents, TrainStep))
    before = [p.clone() for p in step.model.parameters()]
    made.call()
    assert any(not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))


def test_layer_and_gain() -> None:
    """The gain is that of the layer's own parts; a uniform average of normal values is small, a raw sigmoid large."""
    outcome = measure_point(replace(POINT, latent_size=16), Prediction())
    assert outcome.gain is not None
    uniform = make_call(replace(POINT, latent_size=16, similarity="uniform")).gain()
    raw = make_call(replace(POINT, latent_size=16, similarity="sigmoid")).gain()
    assert uniform is not None
    assert raw is not None
    assert uniform < 0.2 < outcome.gain < raw
    assert make_call(replace(POINT, part="training-step")).gain() is None


def test_what_would_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "free_memory", lambda _device: 1000.0)
    monkeypatch.setattr(scaling, "make_call", lambda *_: pytest.fail("it was tried"))
    outcome = measure_point(POINT, Prediction(memory=800.0))
    assert outcome.reason == "does not fit: it needs about 944 MiB, and 1000 MiB are free"
    assert not outcome.failed


def test_a_wrong_prediction_ends_in_a_row_and_takes_no_more_than_was_free() -> None:
    """128x128 dense takes 2 GiB; 700 MiB are said to be free. In a process: limits do not rise again."""
    code = """
from avq.profiling import scaling
from avq.profiling.scaling import Point, Prediction, measure_point
from avq.profiling.memory import peak_memory
scaling.free_memory = lambda device: 700.0
point = Point("attention", 128, "softmax", "dense", "forward", 1, 16, 16, 1, 1, "cpu")
print(measure_point(point, Prediction()).reason)
print(peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    reason, peak = done.stdout.strip().splitlines()
    assert reason.startswith("does not fit: out of memory (")
    assert float(peak) < 1500


def test_out_of_memory_on_a_gpu_is_a_row_and_other_errors_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(error: Exception) -> None:
        def make(_point: Point, _side: int | None = None) -> object:
            raise error

        monkeypatch.setattr(scaling, "make_call", make)

    raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 GiB"))
    assert "CUDA out of memory" in measure_point(POINT, Prediction()).reason
    raising(RuntimeError("another thing"))
    with pytest.raises(RuntimeError, match="another thing"):
        measure_point(POINT, Prediction())


def test_what_cannot_be_counted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def call() -> None:
        raise ValueError("no such\noperator")

    monkeypatch.setattr(scaling, "make_call", lambda *_, **__: scaling.Made(call, lambda: None))
    (found,), _ = predict_points([POINT], RATES)
    assert found.reason == "cannot be counted: ValueError: no such operator"
