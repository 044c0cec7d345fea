from __future__ import annotations

import json

import pytest
from made_tasks import write_run

CHECKPOINT = "run/checkpoint.safetensors"


@pytest.fixture
def run_folder(in_empty_folder, save_tiny):
    """A run's folder as in a store: a checkpoint, and the data it was trained on."""
    folder = save_tiny(in_empty_folder / CHECKPOINT).parent
    counts = {"train_images": 16, "validation_images": 8, "test_images": 12}
    write_run(folder, {"dataset": "synthetic-faces", "image_size": 32, **counts})
    return folder


def measured(done):
    return {row["metric"]: row for row in json.loads(done.stdout)}


def test_a_runs_checkpoint_is_measured_on_its_own_data(call, run_folder):
    rows = measured(call("evaluate", CHECKPOINT, "--format", "json"))
    assert rows["mae"]["n"] == 12
    assert rows["mae"]["dataset"] == "synthetic-faces"
    assert rows["bits-per-pixel"]["value"] == 0.25
    assert rows["perplexity"]["level"] == 1
    words = ["evaluate", CHECKPOINT, "--split", "validation", "--format", "json"]
    assert measured(call(*words))["mae"]["n"] == 8
    assert "mae-sigma" in call("evaluate", CHECKPOINT).stdout


def test_other_images_can_be_named(call, run_folder):
    words = ["--dataset", "synthetic-faces-independent", "--set", "test_images=5", "--set", "train_images=8"]
    rows = measured(call("evaluate", CHECKPOINT, *words, "--format", "json"))
    assert rows["mae"]["dataset"] == "synthetic-faces-independent"
    assert rows["mae"]["n"] == 5


def test_a_checkpoint_alone_needs_a_dataset(call, run_folder):
    (run_folder / "task.json").unlink()
    call("evaluate", CHECKPOINT, code=2, says="--dataset")


@pytest.mark.parametrize(
    ("words", "said"), [((CHECKPOINT, "--set", "steps=5"), "steps"), (("nowhere.safetensors",), "nowhere.safetensors")]
)
def test_training_settings_and_missing_checkpoints_are_refused(call, run_folder, words, said):
    call("evaluate", *words, code=2, says=said)
