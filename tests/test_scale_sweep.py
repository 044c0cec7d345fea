"""The sweep: what is measured, kept, reused and recorded; with points that cost nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_tasks import change_code

import avq
from avq import scale_sweep as scaling
from avq.errors import AvqError, UsageError
from avq.profiling.counting import Rates
from avq.profiling.scaling import Outcome, Point, Prediction, predict_points
from avq.store.record import read_records

Measure = Callable[[Point, Prediction], Outcome]


def grown(point: Point, _prediction: Prediction) -> Outcome:
    """Memory by the fourth power of the side where it is dense, else by the second; 512 and above do not fit."""
    if point.implementation == "dense" and point.latent_size >= 512:
        return Outcome(reason="does not fit: it needs a lot")
    power = 4 if point.implementation == "dense" else 2
    memory = 1e-3 * point.latent_size**power
    return Outcome((memory, memory, 2 * memory), (0.1, 0.2, 0.3), 1.5 if point.part == "forward" else None)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    """The points that were measured."""
    return fake(monkeypatch, grown)


def fake(monkeypatch: pytest.MonkeyPatch, measure: Measure) -> list[Point]:
    points: list[Point] = []

    def call(function: Any, *arguments: Any) -> Any:
        if function is predict_points:
            return [Prediction(1.0, 2.0, 3, 4) for _ in arguments[0]], arguments[1] or Rates(1e9, 1e9)
        points.append(arguments[0])
        return measure(*arguments)

    monkeypatch.setattr(scaling, "call_alone", call)
    return points


def sweep(tmp_path: Path, **more: Any) -> Any:
    given = {"latent_sizes": (64, 128, 256), "similarities": ["softmax"], "passes": ["forward"], "device": "cpu"}
    return avq.scale(**given | more, output=tmp_path)


def test_every_point_has_its_rows(tmp_path: Path, measured: list[Point]) -> None:
    long = sweep(tmp_path, latent_sizes=(64, 128, 256, 512), passes=None)
    assert len(measured) == 4 * 2 * 2
    assert [point.latent_size for point in measured] == sorted(point.latent_size for point in measured)
    (path,) = tmp_path.glob("experiments/scale-cpu/table.csv")
    assert read_records(path).equals(long)
    one = long[long["row"] == "attention[128,softmax,linear,forward]"].set_index("metric")
    assert one.loc["attention-memory", "value"] == pytest.approx(1e-3 * 128**2)
    assert one.loc["attention-memory", "stderr"] > 0
    assert one.loc["attention-time", ["value", "n", "unit"]].to_list() == [0.2, 3, "s"]
    assert one.loc["attention-memory-predicted", "value"] == 1.0
    assert one.loc["attention-gain", "value"] == 1.5
    axes = ["latent_size", "similarity", "implementation", "pass"]
    assert one.iloc[0][axes].to_list() == ["128", "softmax", "linear", "forward"]
    for part in ("batch=1", "channels=128", "filters=128", "threads=", "repeats=3", "device=cpu", "precision=float32"):
        assert part in one.loc["attention-memory", "protocol"]
    assert long.groupby("metric")["protocol"].nunique().max() == 1, "points of one sweep can stand in one column"


def test_exponents_say_over_which_sizes_they_were_fitted(tmp_path: Path, measured: list[Point]) -> None:
    long = sweep(tmp_path, latent_sizes=(16, 64, 128, 256, 512))
    exponents = long[long["metric"] == "attention-memory-exponent"].set_index("implementation")
    assert exponents["value"].to_dict() == pytest.approx({"dense": 4, "linear": 2})
    assert exponents["n"].to_dict() == {"dense": 3, "linear": 4}
    assert exponents.loc["dense", "reason"] == "95 % interval 4.00 to 4.00; fitted over 64, 128, 256"
    assert exponents.loc["dense", "row"] == "attention[softmax,dense,forward]"
    lost = long[(long["latent_size"] == "512") & (long["status"] == "n/a")]
    assert set(lost["metric"]) == {"attention-memory", "attention-time"}
    assert set(lost["reason"]) == {"does not fit: it needs a lot"}


def test_one_size_has_no_exponent(tmp_path: Path, measured: list[Point]) -> None:
    long = sweep(tmp_path, latent_sizes=(64,))
    exponents = long[long["metric"].str.endswith("exponent")]
    assert set(exponents["status"]) == {"n/a"}


def test_measured_points_are_reused_until_code_or_settings_change(
    tmp_path: Path, measured: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sweep(tmp_path)
    said: list[str] = []
    again = sweep(tmp_path, latent_sizes=(64, 128, 512), on_event=lambda event: said.append(event.text))
    assert [point.latent_size for point in measured] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert any(text.startswith("reusing 4 of 6") for text in said)
    kept = first["metric"].eq("attention-memory") & first["latent_size"].eq("64")
    assert again[again["metric"].eq("attention-memory") & again["latent_size"].eq("64")].equals(first[kept])
    measured.clear()
    sweep(tmp_path, latent_sizes=(64, 512), implementations=["dense"])
    assert [point.latent_size for point in measured] == [512], "what did not fit is tried again"
    for more in ({"fresh": True}, {"channels": 32}, {"threads": 7}, {"batch_size": 2}, {"repeats": 5}):
        measured.clear()
        sweep(tmp_path, latent_sizes=(64,), **more)
        assert len(measured) == 2, more
    measured.clear()
    change_code(monkeypatch, "avq.profiling.scaling")
    sweep(tmp_path, latent_sizes=(64,))
    assert len(measured) == 2


def test_other_conditions_are_another_experiment(tmp_path: Path, measured: list[Point]) -> None:
    names = [sweep(tmp_path, latent_sizes=(64,), **more)["experiment"].iloc[0]
             for more in ({}, {"channels": 32}, {"repeats": 2}, {"variants": ["aren-1"]}, {"similarities": ["sigmoid"]},
                          {"passes": ["training-step"]})]  # fmt: skip
    assert names[0] == names[4] == names[5] == "scale-cpu"
    assert len(set(names)) == 4


def test_variants_stand_under_names_of_their_own(tmp_path: Path, measured: list[Point]) -> None:
    long = sweep(tmp_path, latent_sizes=(64, 128), variants=["aren-1-rpa-mean", "aren-1"])
    models = long[long["variant"] != "attention"]
    assert set(models["metric"]) >= {"model-memory", "model-time", "model-memory-predicted", "model-memory-exponent"}
    assert not models["metric"].str.startswith("attention-m").any()
    assert set(models.loc[models["variant"] == "aren-1-rpa-mean", "similarity"]) == {"sigmoid-mean"}
    plain = [point for point in measured if point.subject == "aren-1"]
    assert [point.label for point in plain] == ["aren-1[64,forward]", "aren-1[128,forward]"], "nothing to implement"


def test_a_killed_process_is_a_row_and_the_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scaling.call_alone

    def call(function: Any, *arguments: Any) -> Any:
        if function is predict_points:
            return [Prediction() for _ in arguments[0]], Rates(1e9, 1e9)
        point = arguments[0]
        return real(os.abort) if point.latent_size == 64 else grown(*arguments)

    monkeypatch.setattr(scaling, "call_alone", call)
    long = sweep(tmp_path, implementations=["dense"])
    lost = long[long["status"] == "failed"]
    assert set(lost["row"]) == {"attention[64,softmax,dense,forward]"}
    assert set(lost["reason"]) == {"its process was killed by SIGABRT"}
    assert long.loc[long["latent_size"] == "256", "status"].eq("ok").all()


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(point: Point, prediction: Prediction) -> Outcome:
        if point.latent_size == 128:
            raise KeyboardInterrupt
        return grown(point, prediction)

    fake(monkeypatch, stopping)
    with pytest.raises(AvqError, match="stopped; 2 of 6 points are measured and stored"):
        sweep(tmp_path)
    kept = avq.load_results(tmp_path)
    assert set(kept["latent_size"]) == {"64", ""}
    measured = fake(monkeypatch, grown)
    sweep(tmp_path)
    assert [point.latent_size for point in measured] == [128, 128, 256, 256]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"similarities": ["sofmax"]}, "unknown similarity 'sofmax'; did you mean 'softmax'"),
        ({"implementations": ["sparse"]}, "unknown implementation 'sparse'"),
        ({"passes": ["backward"]}, "unknown pass 'backward'"),
        ({"latent_sizes": ()}, "latent sizes must be there"),
        ({"latent_sizes": (8, 8)}, "each once"),
        ({"latent_sizes": (0,)}, "latent size must be at least 1"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"variants": ["aren-7"]}, "unknown variant 'aren-7'"),
        ({"variants": ["patch-kmeans"]}, "no variant of the built-in autoencoder"),
        ({"variants": ["aren-3"], "latent_sizes": (6,)}, "3 levels: its latent size must be a multiple of 4, not 6"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweep(tmp_path, **given)
    assert not (tmp_path / "costs").exists(), "said before anything is made"
