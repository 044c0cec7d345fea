from __future__ import annotations

import json

import pytest
from made_tasks import write_run

SMALL = {"width": 8, "code_dim": 8, "codebook_size": 16}


@pytest.fixture
def run_folder(in_empty_folder):
    """A run's folder as the store keeps it: a checkpoint, and the data it was trained on."""
    import torch

    from avq.models import create_variant
    from avq.training.checkpoint import save_model

    torch.manual_seed(0)
    folder = in_empty_folder / "run"
    folder.mkdir()
    model = create_variant("aren-1", **SMALL)
    save_model(model, folder / "checkpoint.safetensors")
    counts = {"train_images": 16, "validation_images": 8, "test_images": 12}
    data = {"dataset": "synthetic-faces", "image_size": 32, **counts}
    write_run(folder, data)
    return folder


def measured(done):
    assert done.exit_code == 0, done.stderr
    return {row["metric"]: row for row in json.loads(done.stdout)}


def test_a_runs_checkpoint_is_measured_on_its_own_data(call, run_folder):
    rows = measured(call("evaluate", "run/checkpoint.safetensors", "--format", "json"))
    assert rows["mae"]["n"] == 12
    assert rows["mae"]["dataset"] == "synthetic-faces"
    assert rows["bits-per-pixel"]["value"] == 0.25
    assert rows["perplexity"]["level"] == 1
    words = ["evaluate", "run/checkpoint.safetensors", "--split", "validation", "--format", "json"]
    assert measured(call(*words))["mae"]["n"] == 8
    assert "mae-sigma" in call("evaluate", "run/checkpoint.safetensors").stdout


def test_other_images_can_be_named(call, run_folder):
    words = ["--dataset", "synthetic-faces-independent", "--set", "test_images=5", "--set", "train_images=8"]
    rows = measured(call("evaluate", "run/checkpoint.safetensors", *words, "--format", "json"))
    assert rows["mae"]["dataset"] == "synthetic-faces-independent"
    assert rows["mae"]["n"] == 5


def test_a_checkpoint_alone_needs_a_dataset(call, run_folder):
    (run_folder / "task.json").unlink()
    done = call("evaluate", "run/checkpoint.safetensors")
    assert done.exit_code == 2
    assert "--dataset" in done.stderr


def test_a_trained_model_takes_no_training_settings(call, run_folder):
    done = call("evaluate", "run/checkpoint.safetensors", "--set", "steps=5")
    assert done.exit_code == 2
    assert "steps" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_checkpoint(call, in_empty_folder):
    done = call("evaluate", "nowhere.safetensors")
    assert done.exit_code == 2
    assert "nowhere.safetensors" in done.stderr
