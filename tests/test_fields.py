"""What fingerprints leave unstated, which is what was in force when older runs were made."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import FunctionType

import pytest
from made_tasks import make_run

from avq.fields import departures, unstated
from avq.files import write_json
from avq.models.config import AutoencoderConfig
from avq.models.recipe import Recipe, build
from avq.store.read_run import run_at
from avq.training.config import TrainConfig, effective

UNSTATED = {
    TrainConfig: {
        "steps": 1000, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 100, "beta1": 0.9, "weight_decay": 1e-4,
        "grad_clip": 1.0, "loss": "mae", "precision": "auto", "validate_every": 100, "weight_ema": 0.0,
        "compile": "auto", "keep_history": 0, "reconstruction_weight": 1.0, "perceptual": "none",
        "perceptual_weight": 1.0, "adversarial": "none", "adversarial_weight": 0.02, "disc_start": 0,
        "adaptive_weight": False, "discriminator": "sibling", "discriminator_learning_rate": None,
        "spectral_norm": False, "r1_gamma": 0.0, "grad_accum_steps": 1, "checkpoint_activations": False,
    },
    AutoencoderConfig: {
        "backbone": "aren", "levels": 1, "width": 128, "residual_width": None, "block": "v1", "resize": "nearest",
        "decoder_input": "bottom", "code_dim": 64, "codebook_size": 512, "quantizer": "vq", "codebook": "ema",
        "ema_decay": 0.99, "commitment": 0.25, "kmeans_init": True, "dead_code_reset": True, "attention": "none",
        "attention_form": "literal", "similarity": "sigmoid", "attention_dim": None, "attention_levels": "all",
        "quantizer_dim": None, "normalize": False, "gradient": "straight-through", "entropy_weight": None,
        "entropy_temperature": None,
    },
}  # fmt: skip
# Of settings whose default was changed since: the value before. None so far.
CHANGED: dict[type, dict[str, object]] = {TrainConfig: {}, AutoencoderConfig: {}}


@pytest.mark.parametrize("kind", UNSTATED)
def test_what_is_unstated_is_never_changed(kind: type) -> None:
    """Stored runs are known by it: a changed default leaves it (by `unstated=`), a new setting adds to it."""
    assert unstated(kind) == UNSTATED[kind]
    assert departures(kind, UNSTATED[kind]) == {}
    defaults = {one.name: one.default for one in fields(kind)}
    assert {name: v for name, v in unstated(kind).items() if v != defaults[name]} == CHANGED[kind]


@pytest.mark.parametrize("kind", UNSTATED)
def test_settings_compute_nothing(kind: type) -> None:
    """Their modules are in no fingerprint of code (`avq.design.code`)."""
    own = {name for name, value in vars(kind).items() if isinstance(value, property | FunctionType)}
    assert {name for name in own if not name.startswith("__")} <= {"stride"}  # only checks ask for it


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """As if these settings had had other defaults before."""
    values = {"beta1": 0.5, "commitment": 0.75, "r1_gamma": 3.0}
    for name, value in values.items():
        field = {**TrainConfig.__dataclass_fields__, **AutoencoderConfig.__dataclass_fields__}[name]
        monkeypatch.setattr(field, "metadata", {"help": "", "unstated": value})
    return values


def test_an_older_run_had_what_was_in_force_before_a_setting(before: dict[str, object], tmp_path: Path) -> None:
    run = make_run()
    settings = run.describe()["settings"]
    train, model = ({n: v for n, v in settings[part].items() if n not in before} for part in ("train", "model"))
    write_json(tmp_path / "task.json", run.describe() | {"settings": settings | {"train": train, "model": model}})
    found = run_at(tmp_path)
    assert found is not None
    assert {name: {**found.train, **found.model}[name] for name in before} == before
    assert not {*found.content["train"], *found.content["model"]} & before.keys()
    assert build(Recipe("aren-1", 32, model)).config.commitment == before["commitment"]


def test_settings_that_do_nothing_are_as_fingerprints_leave_them(before: dict[str, object]) -> None:
    assert effective(TrainConfig())["r1_gamma"] == before["r1_gamma"]
    assert departures(TrainConfig, effective(TrainConfig())) == {"beta1": 0.9}
