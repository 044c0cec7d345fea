"""The wheel: it holds the cards, and works from an empty folder in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import avq
from avq.errors import AvqError
from avq.resources import resource_dir

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        check=True,
    )
    (built,) = folder.glob("avq_bench-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The command of an environment that holds this wheel alone, and lends its dependencies from ours.

    Ours holds an editable avq-bench too: the lent path comes last, so the wheel's own files win.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel], check=True
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "avq-bench"


def _run(command: Path, folder: Path, *words: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [command, *words], cwd=folder, env=clean, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_wheel_holds_cards_types_and_licence_but_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("ablations", "datasets"):
        cards = {path.name for path in (ROOT / folder).glob("*.toml")}
        assert cards
        assert {f"avq/_{folder}/{card}" for card in cards} <= names
    assert {"avq/py.typed", "avq/_weights/squeezenet1_1_features.pth"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"avq", f"avq_bench-{avq.__version__}.dist-info"}


@pytest.mark.parametrize("kind", ["ablations", "datasets"])
def test_wheel_lists_its_cards_from_an_empty_folder(installed, tmp_path, kind):
    out = _run(installed, tmp_path, "list", kind, "--format", "csv")
    listed = {line.split(",")[0] for line in out.splitlines()[1:]}
    assert listed == {path.stem for path in (ROOT / kind).glob("*.toml")}
    assert list(tmp_path.iterdir()) == []


def test_wheel_runs_its_own_code(installed, tmp_path):
    python = installed.with_name("python")
    where = _run(python, tmp_path, "-c", "import avq; print(avq.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parents[1])


def test_card_folders_are_no_packages():
    for name in ("ablations", "datasets"):
        assert not list((ROOT / name).rglob("*.py")), "would shadow libraries of that name"


def test_resources_of_the_checkout():
    for name in ("ablations", "datasets"):
        assert resource_dir(name) == ROOT / name
    with pytest.raises(AvqError, match="lacks its nothing folder"):
        resource_dir("nothing")


def test_resources_never_take_another_librarys_folder(tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    monkeypatch.setattr("avq.resources._PACKAGE", tmp_path / "avq")
    with pytest.raises(AvqError, match="reinstall"):
        resource_dir("datasets")


def test_pins_are_names_and_versions_that_satisfy_the_requirements():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    extras = [need for extra in project["optional-dependencies"].values() for need in extra]
    for text in project["dependencies"] + extras:
        need = Requirement(text)
        if need.name == project["name"]:  # one extra that takes another
            continue
        assert need.specifier.contains(pins[canonicalize_name(need.name)]), text


def test_citation_has_this_version():
    assert f"version: {avq.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_python_face_is_lazy_and_complete():
    for name in avq.__all__:
        assert callable(getattr(avq, name))
        assert name in dir(avq)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = avq.nothing_like_it
