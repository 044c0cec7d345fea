from __future__ import annotations

from pathlib import Path

import pytest

from avq.design.ablation import list_ablations, load_ablation
from avq.design.plan import Choices, plan_rows
from avq.design.presets import get_preset, list_presets
from avq.errors import UsageError

GOOD = """
question = "q"
expected = "e"
base = { variant = "aren-{levels}", codebook_size = 256 }
[axes]
levels = [1, 2]
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_ablation(path)


def rows(tmp_path: Path, text: str, **settings: object):
    return plan_rows(load(tmp_path, text), get_preset("small"), Choices(settings))


@pytest.mark.parametrize("name", list_ablations())
@pytest.mark.parametrize("preset", list_presets())
def test_shipped_ablations_resolve_under_every_preset(name: str, preset: str) -> None:
    found = plan_rows(load_ablation(name), get_preset(preset), Choices({}))
    assert len(found) == 3 if preset == "smoke" else len(found) > 3
    assert {"codebook_size"} <= set(found[0].settings)


def test_ablation_levels_is_the_grid_with_references_and_floor() -> None:
    labels = [row.label for row in plan_rows(load_ablation("levels"), get_preset("small"), Choices({}))]
    grid = [f"aren-{levels}{attention}" for levels in (1, 2, 3) for attention in ("", "-rpa", "-rpa-mean")]
    assert labels == [*grid, "vqvae", "vqvae2", "patch-kmeans"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "\n[budgett]\nmatch = 'bits'\n", ["mine.toml", "budgett", "did you mean 'budget'"]),
        (GOOD + "\n[budget]\nmatc = 'bits'\n", ["mine.toml", "matc", "did you mean 'match'"]),
        (GOOD + "\n[budget]\nmatch = 'bit'\n", ["mine.toml", "budget.match", "'bit'"]),
        (GOOD + "\n[statistics]\nalpha = 'x'\n", ["mine.toml", "statistics.alpha", "number"]),
        (GOOD + "\n[[contrasts]]\nname = 'c'\na = 'aren-1'\n", ["mine.toml", "contrasts.0.b", "missing"]),
        ("question = 'q'", ["mine.toml", "expected", "missing"]),
        ("question = ", ["mine.toml", "not a TOML file"]),
        (GOOD.replace('"q"', "3"), ["mine.toml", "question", "string"]),
        (GOOD + "name = 'x'\n", ["mine.toml"]),
    ],
)
def test_a_file_that_breaks_the_form_is_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("codebook_size", "codebook_siz"), ["mine.toml", "codebook_siz", "did you mean 'codebook_size'"]),
        (GOOD.replace("levels = [1, 2]", "level = [1]"), ["mine.toml", "levels", "did you mean 'level'"]),
        (GOOD.replace("[1, 2]", "[1, 1]"), ["mine.toml", "aren-1", "2 times"]),
        (GOOD.replace("[1, 2]", "[1, 4]"), ["aren-4", "did you mean"]),
        (GOOD + "step = [1]\n", ["mine.toml [axes]", "step", "did you mean 'steps'"]),
        (GOOD + "[[rows]]\nsimilarity = 'softmax'\n", ["needs a variant"]),
        (GOOD + "[[rows]]\nvariant = 'aren-1'\n", ["aren-1", "2 times"]),
        (
            GOOD + "[[contrasts]]\nname='c'\na='aren-1'\nb='aren-7'\n",
            ["contrast 'c'", "aren-7", "did you mean"],
        ),
        (GOOD + "[[contrasts]]\nname='c'\na='aren-1'\nb='aren-2'\nmetric='mea'\n", ["did you mean"]),
        (
            GOOD + "[[contrasts]]\nname='c'\na='aren-1'\nb='aren-2'\nmetric='training-time'\n",
            ["contrast 'c'", "cannot be judged by training-time"],
        ),
        (GOOD + "[statistics.margin]\nmaee = 0.1\n", ["did you mean 'mae'"]),
        ("smoke = ['aren-9']\n" + GOOD, ["smoke", "aren-9"]),
        (GOOD + "[budget]\nreference='aren-9'\n", ["reference", "aren-9"]),
        (GOOD.replace("codebook_size = 256", "codebook_size = 'x'"), ["row aren-1", "codebook_size"]),
        (GOOD.replace("codebook_size = 256", "steps = 'x'"), ["steps", "mine.toml base", "integer"]),
        (GOOD.replace("codebook_size = 256", "loss = 'maee'"), ["loss", "did you mean 'mae'"]),
        (GOOD.replace("{levels}", "{levels"), ["mine.toml", "base.variant"]),
        ("question='q'\nexpected='e'\n", ["no rows"]),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        rows(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_unknown_ablation_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'ablation_levels'"):
        load_ablation("ablation_level")
    with pytest.raises(UsageError, match="no ablation file"):
        load_ablation(tmp_path / "none.toml")


def test_settings_resolve_lowest_to_highest_and_remember_their_origin(tmp_path: Path) -> None:
    text = GOOD + "learning_rate = [1e-3, 2e-3]\n[[rows]]\nvariant = 'vqvae'\nsteps = 7\n"
    found = {row.label: row for row in rows(tmp_path, text, batch_size=8)}
    row = found["aren-1[learning_rate=0.001]"]
    assert row.axes == {"levels": "1", "learning_rate": "0.001"}
    expected = {
        "code_dim": (64, "variant aren-1"),
        "width": (48, "preset small"),
        "codebook_size": (256, "mine.toml base"),
        "learning_rate": (0.001, "axis learning_rate"),
        "batch_size": (8, "--set"),
        "grad_clip": (1.0, "default"),
    }
    assert {name: (row.settings[name].value, row.settings[name].origin) for name in expected} == expected
    extra = found["vqvae[steps=7]"]
    assert (extra.settings["steps"].value, extra.settings["steps"].origin) == (7, "row")
    quantizer = "this suite's quantizer (EMA codebook, k-means start, dead-code reset), not the published one"
    assert extra.note == f"width 48, published 256; {quantizer}; batch_size=8"
    [plain] = [row for row in rows(tmp_path, text, kmeans_init=False, dead_code_reset=False) if row.variant == "vqvae"]
    assert "quantizer" not in plain.note
    assert extra.axes == {"levels": "", "learning_rate": ""}


def test_an_axis_cannot_be_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="axis"):
        rows(tmp_path, GOOD + "learning_rate = [1e-3, 2e-3]\n", learning_rate=1.0)


def test_only_chooses_by_label_or_variant(tmp_path: Path) -> None:
    ablation = load(tmp_path, GOOD)
    chosen = plan_rows(ablation, get_preset("smoke"), Choices({}, only=["aren-2"]))
    assert [row.label for row in chosen] == ["aren-2"]
    with pytest.raises(UsageError, match="did you mean 'aren-2'"):
        plan_rows(ablation, get_preset("smoke"), Choices({}, only=["aren-22"]))
    with pytest.raises(UsageError, match="did you mean 'aren-1'"):  # of names as near as one another, the first
        plan_rows(ablation, get_preset("smoke"), Choices({}, only=["aren-l"]))
