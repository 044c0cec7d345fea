"""What counts as the code of a task, on made-up packages and on avq's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avq.design.code import ROOT, Tree, closure, code_fingerprint
from avq.errors import UsageError

LAYER = '''
"""Module."""
class Layer:
    """A layer."""
    def forward(self, x):
        """Twice."""
        if x is None:
            raise ValueError(f"no {x}")
        return x * 2
'''


def shape(source: str) -> str:
    return Tree(source).shape


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x*2  # twice"),
        ('"""Twice."""', '"""Two times."""'),
        ('        """Twice."""\n', ""),
        ('"""A layer."""', "'''Another\n    text.'''"),
        ("class", "\n\n# a comment\nclass"),
        ("x * 2", "(\n            x\n            * 2\n        )"),
        ('f"no {x}"', '"there is nothing"'),
    ],
)
def test_words_and_formatting_do_not_count(old: str, new: str) -> None:
    assert old in LAYER
    assert shape(LAYER) == shape(LAYER.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"), [("2", "3"), ("*", "+"), ("forward", "forwards"), ("2", "2.0"), ("2", "True"), ("Value", "Type")]
)
def test_what_a_layer_does_counts(old: str, new: str) -> None:
    assert shape(LAYER) != shape(LAYER.replace(old, new))


@given(
    st.lists(st.sampled_from("+-*/"), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
    st.text(alphabet="abc #'", max_size=8),
)
def test_only_the_tree_decides(operators: list[str], numbers: list[int], comment: str) -> None:
    expression = "x" + "".join(f" {o} {n}" for o, n in zip(operators, numbers, strict=False))
    plain = f"def f(x):\n    return {expression}\n"
    assert shape(plain) == shape(f"# {comment}\ndef f(x):\n    return ({expression})  # {comment}\n")
    assert shape(plain) != shape(f"def f(x):\n    return {expression} + 1\n")


CALLS = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from there import Thing
else:
    from here import Thing
class Layer(Module):
    steps: int = setting(10, help="of a plug-in, whose runs may not state it")
    def __init__(self):
        self.register_buffer("scale", ones(1))
        REGISTRY.register("layer", 7)
        pool(4, summary="of one")
        register_variant("inner", levels=5)
@register("decorated")
def later(): return [register_hook(8)]
register_feature_extractor("net", 6)
register_variant("mine", levels=2)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\nregister_variant("mine", levels=2)\n', ""),
        ("levels=2)", "levels=3)\navq.models.register_quantizer('q')\nregister_metric(m)\nregister_cards('c')"),
        ("from there", "from nowhere"),
    ],
)
def test_registrations_and_imports_for_types_do_not_count(old: str, new: str) -> None:
    assert old in CALLS
    assert shape(CALLS) == shape(CALLS.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10", "20"), ("ones", "zeros"), ("7", "9"), ("4", "9"), ("of one", "of two"), ("5", "9"), ("8", "9"),
        ("6", "9"), ("decorated", "other"), ("from here", "from nowhere"),
    ],
)  # fmt: skip
def test_what_only_looks_like_one_counts(old: str, new: str) -> None:
    assert old in CALLS
    assert shape(CALLS) != shape(CALLS.replace(old, new))


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small avq: a trainer that imports a model, at the top, in a function, through a package and for types only."""
    root = tmp_path / "avq"
    files = {
        "__init__.py": "",
        "errors.py": LAYER,
        "models/__init__.py": "if True:\n    from avq.models.base import Base\n",
        "models/base.py": LAYER,
        "models/deep.py": LAYER,
        "models/late.py": "from avq.models import deep\n",
        "models/other.py": LAYER,
        "training/trainer.py": "from __future__ import annotations\nimport torch\nfrom avq.errors import X\n"
        "from avq.models import Base\nif TYPE_CHECKING:\n    from avq.models.other import Y\n"
        "def go():\n    from .loss import L\n    import avq.models.late\n",
        "training/loss.py": LAYER,
    }
    for name, text in files.items():
        write(root, name, text)
    return root


def test_the_closure_is_what_runs(package: Path) -> None:
    found = closure(["avq.training.trainer"], package)
    assert sorted(found) == ["avq.models.base", "avq.models.deep", "avq.models.late", "avq.training.loss",
                             "avq.training.trainer"]  # fmt: skip


def test_a_change_counts_where_it_is_imported(package: Path) -> None:
    def fingerprint() -> str:
        return code_fingerprint.__wrapped__(("avq.training.trainer",), package)

    before = fingerprint()
    for name in ("models/other.py", "errors.py", "models/__init__.py"):
        write(package, name, (package / name).read_text() + "more = 1\n")
    assert fingerprint() == before
    write(package, "models/deep.py", LAYER.replace("2", "3"))
    assert fingerprint() != before


def test_plugins_count_with_their_package_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "pkg_of_plugin/__init__.py", "")
    write(tmp_path, "pkg_of_plugin/models.py", "from . import layers\nfrom avq.models import Tokenizer\n")
    write(tmp_path, "pkg_of_plugin/layers.py", "import layers_beside\n")
    write(tmp_path, "plugin_alone.py", "import layers_beside\nimport numpy\n")
    write(tmp_path, "layers_beside.py", LAYER)
    write(tmp_path, "never_imported.py", LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    alone = {name for name in closure(["plugin_alone"]) if not name.startswith("avq")}
    assert alone == {"plugin_alone", "layers_beside"}
    packaged = set(closure(["pkg_of_plugin.models"]))
    assert {"pkg_of_plugin.models", "pkg_of_plugin.layers", "pkg_of_plugin", "avq.models.tokenizer"} <= packaged
    assert "avq.models.quantizers.vq" not in packaged
    for line in ("from avq.models import Autoencoder", "from avq import create_variant", "import avq"):
        write(tmp_path, "layers_beside.py", line)
        assert {"avq.models.autoencoder", "avq.models.quantizers.vq"} <= set(closure(["plugin_alone"])), line
    with pytest.raises(UsageError, match="no module"):
        closure(["no_such_plugin_here"])


def test_avq_itself_is_followed_and_rooms_that_cannot_matter_are_left_out() -> None:
    training = set(closure(["avq.training.trainer", "avq.models.autoencoder"]))
    assert {"avq.training.step", "avq.data.loader", "avq.models.blocks"} <= training
    rooms = {name.split(".")[1] for name in training}
    assert not rooms & {"cli", "reporting", "store", "tasks", "execution", "design", "evaluation"}
    rooms = {name.split(".")[1] for name in closure(["avq.evaluation.evaluate"])}
    assert not rooms & {"cli", "reporting", "store", "tasks", "execution", "design", "profiling"}


def test_every_closure_can_be_taken_of_a_copy(tmp_path: Path) -> None:
    """Fingerprints depend on what is written, not on where it lies."""
    copy = Path(shutil.copytree(ROOT, tmp_path / "avq", ignore=shutil.ignore_patterns("__pycache__")))
    modules = ("avq.training.trainer",)
    assert code_fingerprint(modules) == code_fingerprint(modules, copy)


def test_which_of_a_modules_things_is_meant_counts() -> None:
    module = "avq.models.blocks"
    assert len({code_fingerprint((name,)) for name in (module, f"{module}:One", f"{module}:Other")}) == 3
