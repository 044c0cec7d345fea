"""Losses on their way through an ablation: which rows are chosen, what a preset adds, what is refused, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_tasks import make_run

from avq import sweep
from avq.design.ablation import load_ablation
from avq.design.plan import Choices, Plan, make_plan, plan_rows
from avq.design.presets import get_preset
from avq.design.settings import check_value, parse_assignments
from avq.errors import UsageError
from avq.metrics import weights
from avq.metrics.measurement import measured
from avq.reporting.tables import wide_table
from avq.store.assembly import assemble, costs_of
from avq.store.layout import Store
from avq.store.quality import with_time_to_quality
from avq.store.record import of_run, record_frame
from avq.training.config import TrainConfig

FULL = get_preset("full")
TINY = {
    "image_size": 16, "train_images": 32, "validation_images": 8, "test_images": 8,
    "width": 8, "codebook_size": 8, "steps": 4, "batch_size": 4, "precision": "float32", "validate_every": 2,
}  # fmt: skip

LEARNED = ["aren-1-rpa-mean", "aren-1-rpa-mean[adversarial=none]"]


def labels(preset: str = "full", only: list[str] | None = None) -> list[str]:
    choices = Choices({}, only=only)
    return [row.label for row in plan_rows(load_ablation("training"), get_preset(preset), choices)]


def test_a_label_names_its_row_and_a_variant_all_of_its_rows(tmp_path: Path) -> None:
    assert labels(only=["aren-1-rpa-mean"]) == ["aren-1-rpa-mean"]
    path = tmp_path / "mine.toml"
    path.write_text('question="q"\nexpected="e"\nbase={variant="aren-1"}\n[axes]\ncodebook_size=[8, 16]\n')
    rows = plan_rows(load_ablation(path), FULL, Choices({}, only=["aren-1"]))
    assert [row.label for row in rows] == ["aren-1[codebook_size=8]", "aren-1[codebook_size=16]"]


def test_the_training_ablation_is_at_256_px_under_full_and_needs_no_weights_under_smoke() -> None:
    rows = plan_rows(load_ablation("training"), FULL, Choices({}, dataset="celebahq"))
    assert {row.settings["image_size"].value for row in rows} == {256}
    assert rows[0].settings["image_size"].origin == "ablation_training.toml presets.full"
    smoke = plan_rows(load_ablation("training"), get_preset("smoke"), Choices({}))
    assert {row.settings["image_size"].value for row in smoke} == {None}
    assert {row.settings["perceptual"].value for row in smoke} == {"none"}
    assert {row.settings["adversarial"].value for row in smoke} == {"none", "bce"}


def test_settings_of_a_preset_stand_between_the_preset_and_the_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = 'question="q"\nexpected="e"\nbase={variant="aren-1", width=16}\n[presets.full]\nwidth=24\nsteps=7\n'
    path.write_text(text)
    settings = plan_rows(load_ablation(path), FULL, Choices({}))[0].settings
    assert (settings["width"].value, settings["steps"].value) == (16, 7)
    assert plan_rows(load_ablation(path), get_preset("small"), Choices({}))[0].settings["steps"].value == 1000
    for wrong, words in (("full]\nstep=1", "did you mean 'steps'"), ("fulll]\nsteps=1", "did you mean 'full'")):
        path.write_text(text.partition("[presets")[0] + f"[presets.{wrong}\n")
        with pytest.raises(UsageError, match=words):
            plan_rows(load_ablation(path), FULL, Choices({}))


def test_the_paper_preset_trains_against_the_sibling_codes_patchgan() -> None:
    settings = get_preset("paper").settings
    assert (settings["adversarial"], settings["discriminator"]) == ("bce", "sibling")
    assert settings["adversarial_weight"] == pytest.approx(100 / 5000)


def test_missing_weights_are_said_before_anything_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "resource_dir", lambda _name: tmp_path)  # without those that the package brings
    label = "aren-1-rpa-mean[adversarial=none,perceptual=squeeze]"
    with pytest.raises(UsageError, match=r"row aren-1-rpa-mean\[.*perceptual=squeeze\]: .*squeezenet1_1"):
        sweep.run("training", only=[label], output=tmp_path / "store", device="cpu")
    assert not (tmp_path / "store").exists()


def test_a_plan_of_plain_rows_is_described_as_before() -> None:
    kept = sweep.plan("levels", only=["aren-1"], settings=TINY, device="cpu").describe()["ablation"]
    assert "presets" not in kept
    assert "quality" not in kept["budget"]
    kept = sweep.plan("training", settings=TINY, device="cpu").describe()["ablation"]
    assert kept["budget"]["quality"] == 0.05
    assert "full" in kept["presets"]


def test_losses_are_part_of_a_models_cost() -> None:
    runs = sweep.plan("training", only=LEARNED, settings=TINY, device="cpu").runs
    assert len({costs_of(run, "m") for run in runs}) == 2
    assert [run.train["adversarial"] for run in runs] == ["bce", "none"]


def curve(folder: Path, maes: list[float]) -> Path:
    rows = [{"step": i, "seconds": 10.0 * i, "validation-mae": mae} for i, mae in enumerate(maes, start=1)]
    pd.DataFrame(rows).to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


def trained_record() -> pd.DataFrame:
    row = measured("training-time", 40.0, protocol="training-time.1:device=cpu;threads=1", reason="a remark")
    return record_frame(of_run(make_run(), "two cores"), [("train", row)])


def test_time_to_quality_is_that_of_the_first_point_at_the_level(tmp_path: Path) -> None:
    log = curve(tmp_path, [0.2, 0.1, 0.12, 0.05])
    found = with_time_to_quality(trained_record(), log, 0.1).iloc[-1]
    assert (found["metric"], found["value"], found["unit"], found["reason"]) == ("time-to-quality", 20.0, "s", "")
    assert found["protocol"] == "time-to-quality.1:validation_mae=0.1;device=cpu;threads=1"
    never = with_time_to_quality(trained_record(), log, 0.04).iloc[-1]
    assert (never["status"], pd.isna(never["value"])) == ("n/a", True)
    assert never["reason"] == "validation MAE never fell to 0.04 (least 0.0500)"


def test_no_curve_or_no_level_adds_nothing(tmp_path: Path) -> None:
    record = trained_record()
    assert with_time_to_quality(record, curve(tmp_path, [0.1]), None) is record
    assert with_time_to_quality(record, tmp_path / "none.csv", 0.1) is record
    (tmp_path / "floor.csv").write_text("\n")
    assert with_time_to_quality(record, tmp_path / "floor.csv", 0.1) is record


def test_a_sweep_records_time_to_quality_and_the_gap(tmp_path: Path) -> None:
    ablation = load_ablation("training")
    easy = ablation.model_copy(update={"budget": ablation.budget.model_copy(update={"quality": 0.9})})
    table = sweep.run(easy, only=LEARNED, settings=TINY, seeds=1, output=tmp_path, device="cpu", workers=1)
    values = table[table["status"] == "ok"].set_index(["row", "metric"])["value"]
    for row in LEARNED:
        assert 0 < values[row, "time-to-quality"] <= values[row, "training-time"]
        assert (row, "mae-gap") in values.index
    assert values["aren-1-rpa-mean", "process-memory"] > 100
    wide = wide_table(table)
    # One column of each: what a row is trained on is the row's own, no condition of measuring it.
    assert {"train-images-per-s", "peak-memory", "process-memory", "time-to-quality", "mae-gap"} <= set(wide.columns)
    plan = replace(sweep.plan(easy, only=LEARNED, settings=TINY, seeds=1, device="cpu"), ablation=ablation)
    assert isinstance(plan, Plan)
    again = assemble(plan, Store(tmp_path), {}, "cpu")
    assert (again.loc[again["metric"] == "time-to-quality", "status"] == "n/a").all()


def test_a_setting_that_does_nothing_in_any_row_is_refused() -> None:
    choices = Choices({"r1_gamma": 1.0})
    with pytest.raises(UsageError, match="--set r1_gamma does nothing: adversarial is 'none' in every row"):
        make_plan(load_ablation("levels"), get_preset("smoke"), choices, data_root=None, device="cpu")
    only = Choices({"r1_gamma": 1.0}, only=["aren-1-rpa-mean[adversarial=none]"])  # other rows of the file have it
    assert len(make_plan(load_ablation("training"), get_preset("smoke"), only, data_root=None, device="cpu").runs) == 1


def test_a_setting_of_a_row_that_smoke_leaves_out_is_not_idle() -> None:
    only = Choices({"perceptual_weight": 0.5}, only=["aren-1-rpa-mean[adversarial=none,perceptual=squeeze]"])
    assert len(plan_rows(load_ablation("training"), get_preset("smoke"), only)) == 1


def test_a_discriminator_that_would_never_begin_is_refused() -> None:
    late = Choices({"steps": 20, "disc_start": 20})
    with pytest.raises(UsageError, match="row aren-1-rpa-mean: disc_start = 20 is not below steps = 20"):
        plan_rows(load_ablation("training"), get_preset("smoke"), late)
    assert plan_rows(load_ablation("training"), get_preset("smoke"), replace(late, only=["patch-kmeans"]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite(value: float) -> None:
    with pytest.raises(UsageError, match=r"adversarial_weight = .* must be a finite number"):
        check_value(TrainConfig, "adversarial_weight", value, "--set")
    with pytest.raises(UsageError, match="commitment must be a finite number"):
        plan_rows(load_ablation("levels"), get_preset("smoke"), Choices({"commitment": value}))


def test_a_switch_may_be_given_as_it_is_shown() -> None:
    given = parse_assignments(["adaptive_weight=yes", "kmeans_init=no"])
    assert given == {"adaptive_weight": True, "kmeans_init": False}
    with pytest.raises(UsageError, match="adaptive_weight"):
        check_value(TrainConfig, "adaptive_weight", [1], "--set")
