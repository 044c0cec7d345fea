"""Every registered quantizer, and the plug-in of docs/extending.md: registering a quantizer is testing it."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.design.ablation import Ablation
from avq.design.matching import match_rows, nominal_bits
from avq.design.plan import Choices, plan_rows
from avq.design.presets import get_preset
from avq.errors import UsageError
from avq.evaluation.evaluate import evaluate
from avq.models import create_variant, register_quantizer, register_variant, variant_config
from avq.models.config import MODEL_SETTINGS, AutoencoderConfig
from avq.models.quantizers.base import Quantizer
from avq.models.quantizers.registry import QUANTIZERS
from avq.models.recipe import parts_of
from avq.models.zoo import VARIANTS
from avq.plugins import load_plugin
from avq.profiling.cost import deterministic_costs
from avq.registry import load
from avq.training.checkpoint import load_model, save_model
from avq.training.config import TrainConfig
from avq.training.memory import WholeBatch
from avq.training.step import TrainStep
from avq.training.validation import validate

USE, KNOCKOUT = "avq.metrics.codebook:CodebookUse", "avq.evaluation.knockout:measure"
DOCS = Path(__file__).parents[2] / "docs" / "extending.md"
NAMES = [*QUANTIZERS, "rounding"]
CODED = [name for name in NAMES if name != "none"]
SMALL: dict[str, Any] = {"width": 8, "codebook_size": 16, "code_dim": 8}
OF_VQ = {"codebook", "ema_decay", "commitment", "dead_code_reset"}
OTHER_K: dict[str, dict[str, Any]] = {"fsq": {"fsq_levels": [8, 5, 6]}, "rounding": {"bins": [8, 8]}}


@pytest.fixture(autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the docs, as `--plugin rounding.py` takes it."""
    (text,) = re.findall(r"<!-- run: file rounding.py -->\n```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert text.count("\n") <= 40
    path = tmp_path_factory.mktemp("plugin") / "rounding.py"
    path.write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for registry in (QUANTIZERS, VARIANTS):
        monkeypatch.setattr(registry, "_entries", dict(registry))
    monkeypatch.delitem(sys.modules, "rounding", raising=False)
    load_plugin(str(path))


def made(name: str, **settings: Any) -> Quantizer:
    """One of it, started from latents."""
    torch.manual_seed(0)
    entry = QUANTIZERS[name]
    own = {key: settings.get(key, value) for key, value in entry.settings.items()}
    config = AutoencoderConfig(**SMALL | {key: value for key, value in settings.items() if key in MODEL_SETTINGS})
    quantizer: Quantizer = load(entry.factory, name)(config, **own)
    quantizer.initialise(latents(64, dim=config.code_dim))
    return quantizer


def latents(count: int = 2, seed: int = 0, dim: int = SMALL["code_dim"]) -> Tensor:
    return torch.randn(count, dim, 4, 4, generator=torch.Generator().manual_seed(seed))


def state(quantizer: Quantizer) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in quantizer.state_dict().items()}


def same(before: dict[str, Tensor], quantizer: Quantizer) -> bool:
    return all(torch.equal(value, before[key]) for key, value in quantizer.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_ranges(name: str) -> None:
    quantizer = made(name)
    z, codes, loss = quantizer(latents())
    assert z.shape == latents().shape
    assert z.dtype == torch.float32
    if name != "none":
        several = quantizer.codes_per_position
        assert codes.shape == ((2, 4, 4, several) if several > 1 else (2, 4, 4))
        assert codes.dtype == torch.int64
        assert 0 <= codes.min() < codes.max() < quantizer.codebook_size
    assert loss.ndim == 0
    assert loss.isfinite()
    assert isinstance(quantizer.codebook_values(), int)


@pytest.mark.parametrize("name", NAMES)
def test_codes_decode_to_what_forward_gives_and_nothing_moves_in_eval(name: str) -> None:
    quantizer = made(name).eval()
    before = state(quantizer)
    with torch.no_grad():
        z, codes, _ = quantizer(latents())
        assert torch.equal(quantizer.encode(latents()), codes)
        assert torch.equal(quantizer.decode(codes), z)
    assert same(before, quantizer)


HARD: dict[str, tuple[Callable[[], Tensor], dict[str, Any]]] = {
    "zero": (lambda: torch.zeros(2, 8, 4, 4), {}),
    "constant": (lambda: torch.full((2, 8, 4, 4), 3.0), {}),
    "far": (lambda: latents() + 1e6, {}),
    "one pixel, fewer vectors than codes": (lambda: latents()[:1, :, :1, :1], {}),
    "two codes": (latents, {"codebook_size": 2, "fsq_levels": [2], "bins": [2]}),
    "one channel": (lambda: latents(dim=1), {"code_dim": 1}),
    "empty": (lambda: latents(0), {}),
    "bfloat16": (lambda: latents().bfloat16(), {}),
    "not contiguous": (lambda: latents(4).transpose(2, 3)[::2], {}),
}


WAYS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NAMES),
    ("vq", {"quantizer_dim": 3}),
    ("vq", {"normalize": True, "entropy_weight": 0.1}),
    ("vq", {"codebook": "gradient", "normalize": True, "entropy_weight": 0.1}),
    ("vq", {"codebook": "gradient", "gradient": "rotation", "entropy_weight": 0.1}),
    ("residual", {"residual_shared": False, "residual_dropout": True}),
    ("residual", {"codebook": "gradient"}),
    ("none", {"quantizer_dim": 3}),
]


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_training_gives_the_decoded_codes_to_the_last_bit(
    name: str, way: dict[str, Any], case: str, start: bool
) -> None:
    """Whatever the latents, which may also be those that it starts from; and it stays sound."""
    given, settings = HARD[case]
    settings = way | settings
    if name == "product" and case == "one channel":
        settings = settings | {"quantizer_dim": 2}
    quantizer, z = made(name, **settings).train(), given()
    if start:
        quantizer.initialise(z)
    before = copy.deepcopy(quantizer)
    z = z.requires_grad_()
    result = quantizer(z)
    (result.latents.sum() + result.loss).backward()
    assert result.latents.shape == z.shape
    assert result.latents.isfinite().all()
    assert result.loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert torch.equal(before.decode(result.codes), result.latents)
    assert torch.equal(before.encode(z)[..., : result.codes.shape[-1]], result.codes)
    assert all(value.isfinite().all() for value in quantizer.state_dict().values())


@pytest.mark.parametrize("name", CODED)
def test_a_state_of_another_codebook_size_is_refused_in_one_line(name: str) -> None:
    other = made(name, **OTHER_K.get(name, {"codebook_size": 32})).state_dict()
    with pytest.raises(UsageError) as caught:
        made(name).load_state_dict(other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CODED)
def test_a_code_out_of_range_is_refused_in_one_line(name: str) -> None:
    model = create_variant("aren-1", 16, quantizer=name, **SMALL).eval()
    (codes,) = model.encode(torch.zeros(1, 3, 16, 16))
    for wrong in (-1, model.codebook_sizes[0]):
        with pytest.raises(UsageError, match=f"level 1: codes must be whole numbers from 0 to .*, not .*{wrong}"):
            model.decode([codes.index_fill(1, torch.tensor([2]), wrong)])


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_the_latents_and_every_parameter(name: str) -> None:
    quantizer = made(name)
    z = latents().requires_grad_()
    result = quantizer(z)
    (result.latents.square().sum() + result.loss).backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in quantizer.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float32_under_autocast(name: str) -> None:
    quantizer = made(name).eval()
    z, codes, loss = quantizer(latents())
    with torch.autocast("cpu", torch.bfloat16):
        result = quantizer(latents())
    assert torch.equal(result.latents, z)
    assert torch.equal(result.codes, codes)
    assert result.loss.dtype == torch.float32
    assert torch.equal(result.loss, loss)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float32_in_a_model_of_any_dtype(name: str, dtype: torch.dtype) -> None:
    """Its weights are those from before the cast, and it learns from latents of that dtype as from float32."""
    plain, cast = made(name), made(name)
    nn.Sequential(cast).to(dtype)
    z = latents().to(dtype)
    for quantizer in (plain, cast):
        torch.manual_seed(1)
        result = quantizer(z)
        assert result.latents.dtype == result.loss.dtype == torch.float32
    assert same(state(plain), cast)
    assert torch.equal(cast.encode(z), plain.encode(z))


@pytest.mark.parametrize("name", NAMES)
def test_no_query_moves_it_in_training_mode(name: str) -> None:
    quantizer = made(name).train()
    before = state(quantizer)
    quantizer.decode(quantizer.encode(latents()))
    assert same(before, quantizer)


@pytest.mark.parametrize("settings", [{}, {"codebook": "gradient"}])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_teaches_it_nothing(name: str, value: float, settings: dict[str, Any]) -> None:
    quantizer = made(name, **settings).train()
    before, z = state(quantizer), latents()
    z[1, 0, 2, 3] = value
    quantizer(z)
    quantizer.learn(z)
    quantizer.initialise(z)
    assert same(before, quantizer)


@pytest.mark.parametrize("name", NAMES)
def test_learning_from_slices_is_learning_from_the_whole(name: str) -> None:
    whole, sliced = made(name), made(name)
    torch.manual_seed(1)
    whole.train()(latents(8))
    torch.manual_seed(1)
    with WholeBatch(sliced) as slices:
        for part in latents(8).split(2):
            sliced(part)
    slices.learn()
    assert same(state(whole), sliced)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_with_it_trains_is_measured_and_is_saved(name: str, faces: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_variant("aren-2", 16, quantizer=name, **SMALL)
    step = TrainStep(model.train(), TrainConfig(batch_size=8, grad_accum_steps=2, precision="bfloat16"), "cpu")
    model.initialise_codebooks(to_model(faces.train.images))
    model.train()
    assert step(faces.train.images[:8], 0, check=True).isfinite()
    assert {"loss-quantizer-1", "loss-quantizer-2"} <= step.logs().keys()
    model.eval()
    assert [level.quantizer.codebook_size for level in model.find_levels()] == (model.codebook_sizes or [0, 0])
    rows = evaluate(model, faces, only=[USE, KNOCKOUT]).measurements
    rows = [row for row in rows if row.metric in ("knockout-mae", "perplexity", "bits-per-pixel")]
    assert {row.status for row in rows} == ({"n/a"} if name == "none" else {"ok"})
    assert validate(model, faces.test.images, "cpu", "float32")["validation-mae"] > 0
    values = {row.metric: row.value for row in deterministic_costs(model, 16)}
    assert values["params-codebook"] == sum(level.quantizer.codebook_values() for level in model.find_levels())
    save_model(model, tmp_path / "m.safetensors")
    images = to_model(faces.test.images)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "m.safetensors")(images).images, model(images).images)


def test_the_setting_says_which_parts_a_model_is_made_of() -> None:
    vq, rounding = (parts_of(None, variant_config("aren-1-rpa", quantizer=name)) for name in ("vq", "rounding"))
    assert vq == ["avq.models.autoencoder:autoencoder", "avq.models.quantizers.vq:from_config", "avq.models.attention"]
    assert rounding == [vq[0], "rounding:Rounding", vq[2]]
    assert parts_of(None, variant_config("aren-1")) == vq[:2]
    assert parts_of("mine:Patches", {"codebook_size": 4}) == ["mine:Patches"]


def test_settings_of_its_own_are_resolved_and_those_of_others_left_out() -> None:
    config = variant_config("aren-1", quantizer="rounding", bins=[4, 4])
    assert config["bins"] == [4, 4]
    assert not OF_VQ & config.keys()
    assert "bins" not in variant_config("aren-1")
    assert create_variant("aren-1", quantizer="rounding", bins=[4, 4]).codebook_sizes == [16]
    register_variant("aren-1-rounding", "by one line", quantizer="rounding", bins=[3, 3])
    assert variant_config("aren-1-rounding", bins=[5])["bins"] == [5]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: create_variant("aren-1", quantizer="roundign"),
            "unknown quantizer 'roundign'; did you mean",
        ),
        (lambda: create_variant("aren-1", quantizer="rounding", bins=8), "bins must be list, not 8"),
        (lambda: register_quantizer("vq", "x:Y", "again"), "registered already"),
        (lambda: register_quantizer("x", "x:Y", "taken", code_dim=3), "code_dim is a setting of every model"),
    ],
)
def test_wrong_use_is_one_clear_line(build: Any, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        build()


def ablation(**more: Any) -> Ablation:
    return Ablation(name="x", question="", expected="", base={"variant": "aren-1", "quantizer": "rounding"}, **more)


def planned(asked: Ablation, **settings: Any) -> list[Any]:
    return plan_rows(asked, get_preset("paper"), Choices(settings))


def test_a_list_is_a_value_of_an_axis_a_row_and_a_setting() -> None:
    rows = planned(ablation(axes={"bins": [[8, 5, 5, 5], [8, 8]]}))
    assert [(row.label, row.model["bins"]) for row in rows] == [
        ("aren-1[bins=8x5x5x5]", [8, 5, 5, 5]), ("aren-1[bins=8x8]", [8, 8])
    ]  # fmt: skip
    (row,) = planned(ablation(axes={"bins": {"small": [3, 3]}}))
    assert (row.label, row.axes, row.model["bins"]) == ("aren-1[bins=small]", {"bins": "small"}, [3, 3])
    (row,) = planned(ablation(), bins=[2, 2])
    assert row.settings["bins"].value == row.model["bins"] == [2, 2]


def test_a_setting_that_no_rows_quantizer_reads_is_refused() -> None:
    """A preset's are ignored: the preset `paper` has a gradient codebook."""
    assert not OF_VQ & planned(ablation())[0].settings.keys()
    with pytest.raises(UsageError, match="--set ema_decay does nothing"):
        planned(ablation(), ema_decay=0.9)
    with pytest.raises(UsageError, match="dead_code_reset does nothing with this row's quantizer"):
        planned(ablation(axes={"dead_code_reset": [True, False]}))


@pytest.mark.parametrize(
    ("quantizer", "outcome"),
    [
        ("vq", 256),
        ("bsq", 256),
        ("residual", 16),  # two codes a position
        ("product", 16),
        ("fsq", "has no codebook_size to set"),
        ("none", "has no codebook_size to set"),
    ],
)
def test_equal_bits_are_a_number_of_codes_or_one_line(quantizer: str, outcome: int | str) -> None:
    rows = [{"variant": "aren-1", "quantizer": "vq", "codebook_size": 256}, {"quantizer": quantizer, "match": "bits"}]
    *_, first, second = planned(ablation(rows=rows))
    if isinstance(outcome, str):
        with pytest.raises(UsageError, match=outcome):
            match_rows([second], [first, second], first.label)
    else:
        (matched,) = match_rows([second], [first, second], first.label)
        assert matched.model["codebook_size"] == outcome
        assert nominal_bits(matched) == nominal_bits(first)


def test_a_model_without_codes_has_no_bits_to_match() -> None:
    *_, first, second = planned(ablation(rows=[{"quantizer": "none"}, {"quantizer": "vq", "match": "bits"}]))
    with pytest.raises(UsageError, match="cannot carry 0 bits"):
        match_rows([second], [first, second], first.label)


def test_bits_are_not_matched_by_a_setting_that_does_not_make_the_codebook() -> None:
    rows = planned(ablation(rows=[{"variant": "aren-1", "quantizer": "vq"}, {"match": "bits"}]))
    with pytest.raises(UsageError, match="has no codebook_size to set"):
        match_rows(rows, rows, rows[1].label)
