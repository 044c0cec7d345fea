from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avq.design.code_hash import cost_hash, evaluation_hash, scaling_hash, source_hash, training_hash
from avq.errors import UsageError

LAYER = '''
"""Module."""
class Layer:
    """A layer."""
    def forward(self, x):
        """Twice."""
        return x * 2
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x*2  # twice"),
        ('"""Twice."""', '"""Two times."""'),
        ('        """Twice."""\n', ""),
        ('"""A layer."""', "'''Another\n    text.'''"),
        ("class", "\n\n# a comment\nclass"),
        ("x * 2", "(\n            x\n            * 2\n        )"),
    ],
)
def test_words_and_formatting_do_not_count(old: str, new: str) -> None:
    assert source_hash(LAYER) == source_hash(LAYER.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("2", "3"), ("*", "+"), ("forward", "forwards"), ("2", "2.0"), ("2", "True")])
def test_what_a_layer_does_counts(old: str, new: str) -> None:
    assert source_hash(LAYER) != source_hash(LAYER.replace(old, new))


@given(
    st.lists(st.sampled_from("+-*/"), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
    st.text(alphabet="abc #'", max_size=8),
)
def test_only_the_tree_decides(operators: list[str], numbers: list[int], comment: str) -> None:
    expression = "x" + "".join(f" {o} {n}" for o, n in zip(operators, numbers, strict=False))
    plain = f"def f(x):\n    return {expression}\n"
    assert source_hash(plain) == source_hash(f"# {comment}\ndef f(x):\n    return ({expression})  # {comment}\n")
    assert source_hash(plain) != source_hash(f"def f(x):\n    return {expression} + 1\n")


SETTING = 'steps = setting(10, help="optimiser steps")\nvariant = Entry(summary=f"{many} levels", settings=s)\n'


@pytest.mark.parametrize(("old", "new"), [("optimiser steps", "steps"), ('f"{many} levels"', '"levels"')])
def test_words_that_people_read_do_not_count(old: str, new: str) -> None:
    assert source_hash(SETTING) == source_hash(SETTING.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"), [("10", "11"), ('"optimiser steps"', "f()"), ("help=", "name="), ("=s)", "=t)")]
)
def test_other_arguments_count(old: str, new: str) -> None:
    assert source_hash(SETTING) != source_hash(SETTING.replace(old, new))


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_rooms_that_train_and_rooms_that_measure_are_told_apart(tmp_path: Path) -> None:
    for name in (
        "models/a.py",
        "training/trainer.py",
        "evaluation/evaluate.py",
        "data/d.py",
        "metrics/m.py",
        "cli/c.py",
    ):
        write(tmp_path, name, LAYER)
    before = training_hash(root=tmp_path), evaluation_hash(root=tmp_path)
    write(tmp_path, "cli/c.py", "x = 1")
    assert (training_hash(root=tmp_path), evaluation_hash(root=tmp_path)) == before
    write(tmp_path, "metrics/m.py", "x = 1")
    assert training_hash(root=tmp_path) == before[0]
    assert evaluation_hash(root=tmp_path) != before[1]
    measured = evaluation_hash(root=tmp_path)
    write(tmp_path, "models/a.py", "x = 1")
    assert training_hash(root=tmp_path) != before[0]
    assert evaluation_hash(root=tmp_path) == measured


COST = "from avq.data.loader import to_model\nfrom avq.profiling.meters import macs\n"
MACS = "def macs():\n    from avq.metrics import memory\n    import avq.metrics.registry\n    return memory.peak()\n"


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("profiling/cost.py", True), ("profiling/meters.py", True), ("profiling/memory.py", True),
        ("metrics/error.py", False), ("metrics/registry.py", False), ("evaluation/evaluate.py", False),
        ("data/loader.py", False),
    ],
)  # fmt: skip
def test_costs_are_measured_by_what_their_module_imports(tmp_path: Path, name: str, counts: bool) -> None:
    for file in ("data/loader.py", "profiling/memory.py", "metrics/error.py", "evaluation/evaluate.py",
                 "metrics/registry.py"):  # fmt: skip
        write(tmp_path, file, LAYER)
    write(tmp_path, "profiling/cost.py", COST)
    write(tmp_path, "profiling/meters.py", MACS)
    before = cost_hash(root=tmp_path)
    write(tmp_path, name, (tmp_path / name).read_text() + "more = 1\n")
    assert (cost_hash(root=tmp_path) != before) is counts


def test_the_cost_modules_are_found() -> None:
    from avq.design.code_hash import _COSTS, _ROOT, _imports

    assert "profiling/meters.py" in _imports(_ROOT / _COSTS)


@pytest.mark.parametrize(
    ("name", "layer", "whole"),
    [
        ("models/attention_tiles.py", True, True), ("models/blocks.py", False, True), ("training/step.py", False, True),
        ("profiling/memory.py", True, True), ("metrics/error.py", False, False), ("data/splits.py", False, False),
    ],
)  # fmt: skip
def test_what_scale_measures_is_known_by_its_code(tmp_path: Path, name: str, layer: bool, whole: bool) -> None:
    for other in ("models/attention.py", "profiling/memory.py", name):
        write(tmp_path, other, LAYER)
    write(tmp_path, "profiling/scaling.py", "from avq.profiling.memory import free\n")
    before = [scaling_hash(kind, root=tmp_path) for kind in (False, True)]
    write(tmp_path, name, LAYER.replace("2", "3"))
    assert [scaling_hash(kind, root=tmp_path) != old for kind, old in enumerate(before)] == [layer, whole]


def test_plugins_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "my_plugin_for_hash.py", LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    before = training_hash(["my_plugin_for_hash"])
    assert before != training_hash()
    write(tmp_path, "my_plugin_for_hash.py", LAYER.replace("2", "3"))
    assert training_hash(["my_plugin_for_hash"]) != before
    with pytest.raises(UsageError, match="no module"):
        training_hash(["no_such_plugin_here"])


def test_all_of_a_plugins_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "pkg_for_hash/__init__.py", "")
    write(tmp_path, "pkg_for_hash/models.py", "from pkg_for_hash import layers")
    write(tmp_path, "pkg_for_hash/layers.py", LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    before = training_hash(["pkg_for_hash.models"])
    write(tmp_path, "pkg_for_hash/layers.py", LAYER.replace("2", "3"))
    assert training_hash(["pkg_for_hash.models"]) != before


def test_what_a_plugin_imports_from_its_own_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "plugin_for_hash.py", "import layers_for_hash")
    write(tmp_path, "layers_for_hash.py", LAYER)
    write(tmp_path, "another_for_hash.py", LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("plugin_for_hash")
    before = training_hash(["plugin_for_hash"])
    write(tmp_path, "another_for_hash.py", LAYER.replace("2", "3"))
    assert training_hash(["plugin_for_hash"]) == before
    write(tmp_path, "layers_for_hash.py", LAYER.replace("2", "3"))
    assert training_hash(["plugin_for_hash"]) != before


def test_only_the_plugin_that_builds_a_variant_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avq import sweep as results
    from avq.design.ablation import Ablation
    from avq.models.config import VARIANTS

    known = dict(VARIANTS)
    write(
        tmp_path,
        "mine_for_hash.py",
        "from avq.models.config import register_variant\nfrom avq.models.zoo import build_from_config\n"
        "def build(image_size):\n    return build_from_config('aren-1', image_size, {})\n"
        "register_variant('mine-for-hash', 's', 'mine_for_hash:build')\n",
    )
    write(tmp_path, "other_for_hash.py", "")
    monkeypatch.syspath_prepend(tmp_path)
    ablation = Ablation(name="x", question="", expected="", rows=[{"variant": "mine-for-hash"}])
    try:
        plugins = ["mine_for_hash", "other_for_hash"]
        alone, both = (results.plan(ablation, plugins=p, device="cpu").runs[0].code for p in (plugins[:1], plugins))
    finally:
        VARIANTS.clear()
        VARIANTS.update(known)
    assert alone == both
