from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_tasks import make_run
from torch import Tensor

from avq.design.ablation import Ablation, load_ablation
from avq.design.matching import codes_for_bits
from avq.design.plan import Choices, make_plan, plan_seeds
from avq.design.presets import get_preset
from avq.design.settings import parse_assignments
from avq.errors import UsageError
from avq.models.tokenizer import Reconstruction, Tokenizer
from avq.models.zoo import VARIANTS, register_variant

SETTINGS = {
    "steps": st.integers(1, 10**6),
    "batch_size": st.integers(1, 512),
    "learning_rate": st.floats(1e-6, 1, allow_nan=False),
    "codebook_size": st.integers(2, 4096),
    "code_dim": st.integers(1, 512),
    "loss": st.sampled_from(["mae", "mse"]),
    "seeds": st.lists(st.integers(0, 99), min_size=1, max_size=1),
    "test_images": st.integers(1, 1000),
}


def plan(seeds: object = None, **settings: object):
    return make_plan(
        load_ablation("levels"),
        get_preset("smoke"),
        Choices(settings, only=["aren-1"] if "codebook_size" not in settings else ["aren-1-rpa"], seeds=seeds),
        data_root=None,
        device="cpu",
    )


def test_a_plan_is_rows_times_seeds_and_its_order_is_by_seed() -> None:
    made = make_plan(load_ablation("levels"), get_preset("smoke"), Choices({}, seeds=2), data_root=None, device="cpu")
    assert len(made.rows) == 3
    assert len(made.runs) == len(made.entries) == 6
    assert [run.seed for run in made.runs] == [0, 0, 0, 1, 1, 1]
    assert made.experiment == "ablation_levels-smoke-synthetic-faces"
    assert made.runs[0].train["precision"] in ("float32", "bfloat16")
    assert made.runs[0].data["image_size"] == 32


@given(st.data())
def test_any_change_of_a_setting_is_another_run(data: st.DataObject) -> None:
    base = make_run()
    parts = {"train": dict(base.train), "model": dict(base.model), "data": dict(base.data)}
    part = data.draw(st.sampled_from(sorted(parts)))
    name = data.draw(st.sampled_from(sorted(parts[part])))
    value = data.draw(st.one_of(st.integers(), st.text(max_size=5), st.booleans(), st.none()))
    changed = replace(base, **{part: parts[part] | {name: value}})
    same = value == parts[part][name] and type(value) is type(parts[part][name])
    assert (changed.fingerprint == base.fingerprint) is same


def test_seed_data_code_and_settings_are_in_the_id_and_the_name_is_not() -> None:
    base = make_run()
    for change in ({"seed": 1}, {"code": "other"}, {"images": "0" * 16}, {"factory": "m:f"}):
        assert replace(base, **change).fingerprint != base.fingerprint
    assert replace(base, variant="alias").fingerprint == base.fingerprint
    assert replace(base, code="other").content_fingerprint == base.content_fingerprint
    assert base.name == f"aren-1-synthetic-faces-32px-s0-{base.fingerprint[:8]}"
    assert "/" not in replace(base, variant="my/variant x").name


def test_order_of_settings_does_not_matter() -> None:
    base = make_run()
    turned = replace(base, train=dict(reversed(list(base.train.items()))))
    assert turned.fingerprint == base.fingerprint


def test_one_run_serves_two_ablations() -> None:
    levels = make_plan(
        load_ablation("levels"),
        get_preset("small"),
        Choices({"dataset": "synthetic-faces"}, only=["aren-1-rpa-mean"], seeds=1),
        data_root=None,
        device="cpu",
    )
    attention = make_plan(
        load_ablation("attention"),
        get_preset("small"),
        Choices(
            {"dataset": "synthetic-faces"},
            only=["aren-1-rpa[attention_form=literal,similarity=sigmoid-mean]"],
            seeds=1,
        ),
        data_root=None,
        device="cpu",
    )
    assert levels.runs[0].fingerprint == attention.runs[0].fingerprint


def test_set_beats_everything_and_dataset_names_the_experiment() -> None:
    made = plan(steps=7, dataset="synthetic-faces-independent")
    assert made.runs[0].train["steps"] == 7
    assert "-synthetic-faces-independent-" in made.experiment


@pytest.mark.parametrize(("seeds", "expected"), [(None, (0,)), (3, (0, 1, 2)), ([0, 4, 7], (0, 4, 7))])
def test_seeds(seeds: object, expected: tuple[int, ...]) -> None:
    assert plan_seeds(get_preset("smoke"), seeds) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [0, [], [1, 1], [-1]])
def test_seeds_that_are_none(seeds: object) -> None:
    with pytest.raises(UsageError):
        plan_seeds(get_preset("smoke"), seeds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=5", 5),
        ("learning_rate=1e-3", 1e-3),
        ("loss=mse", "mse"),
        ("kmeans_init=false", False),
        ("code_dim = 8", 8),
    ],
)
def test_assignments(text: str, value: object) -> None:
    assert list(parse_assignments([text]).values()) == [value]


@pytest.mark.parametrize("text", ["steps", "=5", "steps=", "stps=5"])
def test_assignments_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_assignments([text])


def test_rate_matched_rows_have_the_reference_bits() -> None:
    only = ["aren-1", "aren-2[decoder_input=all,match=bits]", "vqvae2[match=bits]"]
    choices = Choices({"dataset": "synthetic-faces"}, only=only, seeds=1)
    made = make_plan(load_ablation("hierarchy"), get_preset("small"), choices, data_root=None, device="cpu")
    codes = {row.label: row.settings["codebook_size"] for row in made.rows}
    assert codes["aren-1"].value == 256
    for label in only[1:]:
        bits = (8 * 8 + 4 * 4) * math.log2(codes[label].value)
        assert bits == pytest.approx(64 * 8, rel=0.01)
        assert codes[label].origin == "match bits (aren-1)"
    assert all(entry.run.model["codebook_size"] == codes[entry.row.label].value for entry in made.entries)


class Halves(Tokenizer):
    """A user's variant that does not say its latent sizes: a code for either half of the image."""

    def __init__(self, image_size: int, codebook_size: int = 4) -> None:
        super().__init__()
        self.codebook_sizes, self.decoder_levels = [codebook_size], [1]

    def encode(self, images: Tensor) -> list[Tensor]:
        brighter = images.flatten(1).mean(1).tolist()  # needs numbers: not to be had on the meta device
        return [torch.tensor([[[0, 1]] for _ in brighter])]

    def decode(self, codes: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def forward(self, images: Tensor) -> Reconstruction:
        raise NotImplementedError


def fixed(image_size: int) -> Tokenizer:
    return Halves(image_size)


def test_floors_and_plugins_are_matched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avq.design.plan.training_code", lambda *_: "c0de")
    monkeypatch.setattr(VARIANTS, "_entries", dict(VARIANTS))
    register_variant("halves", "", f"{__name__}:Halves", codebook_size=4)
    register_variant("fixed", "", f"{__name__}:fixed")

    def matched(reference: dict[str, Any], variant: str) -> int:
        rows = [reference, {"variant": variant, "match": "bits"}]
        ablation = Ablation(name="x", question="", expected="", rows=rows, smoke=[])
        made = make_plan(ablation, get_preset("smoke"), Choices({}), data_root=None, device="cpu")
        return int(made.rows[1].model["codebook_size"])

    assert matched({"variant": "aren-1", "codebook_size": 16}, "patch-kmeans") == 16
    assert matched({"variant": "halves", "codebook_size": 8}, "halves") == 8
    with pytest.raises(UsageError, match=r"row fixed.*: fixed has no codebook_size to set"):
        matched({"variant": "halves"}, "fixed")


def test_bits_that_no_codebook_carries() -> None:
    assert codes_for_bits(64, 512, "r") == 256
    with pytest.raises(UsageError, match="row r"):
        codes_for_bits(1000, 10, "r")


def test_equal_training_flops_scale_the_steps() -> None:
    choices = Choices({"match": "train-flops", "dataset": "synthetic-faces"}, only=["aren-1", "aren-2"], seeds=1)
    made = make_plan(load_ablation("levels"), get_preset("small"), choices, data_root=None, device="cpu")
    steps = {row.label: row.settings["steps"].value for row in made.rows}
    assert steps["aren-1"] == 1000
    assert 500 < steps["aren-2"] < 1000
