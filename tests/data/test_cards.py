from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avq.data.cards import card_files, get_card, list_datasets, register_cards
from avq.data.config import DATA_SETTINGS, DataConfig
from avq.data.fingerprint import fingerprint
from avq.errors import UsageError
from avq.resources import resource_dir


def test_the_datasets_of_this_version() -> None:
    names = {"celebahq", "cifar10", "lsun-bedroom", "synthetic-faces", "synthetic-faces-independent"}
    assert names <= set(list_datasets())
    assert list_datasets() == sorted(list_datasets())


@pytest.mark.parametrize("name", list_datasets())
def test_every_card_says_what_a_user_must_know(name: str) -> None:
    card = get_card(name)
    assert card.name == name
    for text in (card.summary, card.source, card.licence, card.citation, card.split, card.how_to_get):
        assert text.strip()
    assert card.default_size >= 16
    assert card.native_size == 0 or card.default_size <= card.native_size
    assert set(card.checksums) == set(card.sizes)
    assert bool(card.folder) == (card.kind != "synthetic-faces")


def test_unknown_dataset_suggests_the_near_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'cifar10'\? Known: .*; your own: --cards FOLDER, or"):
        get_card("cifar-10")


MINE = """
kind = "folder"
summary = "my pictures"
source = "my camera"
licence = "mine"
default_size = 16
flip = false
shares = { validation = 0.1, test = 0.2 }
"""


def write_card(folder: Path, text: str = MINE, name: str = "mine") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINE.replace("summary", "sumary"), "did you mean 'summary'"),
        ("kind = 'folder'", "key 'summary' is missing"),
        ("kind = ", "is not a TOML file"),
        (MINE.replace('"folder"', '"foldr"'), "did you mean 'folder'"),
        (MINE.replace("test = 0.2", "tset = 0.2"), "shares of validation and of test"),
        (MINE.replace("test = 0.2", "test = 0.95"), "together below 1"),
        (MINE.replace("16", "'16'"), "default_size = '16': input should be a valid integer"),
        (MINE + "[[downloads]]\nurl = 'u'\nname = 'n'\nbytse = 3\n", "did you mean 'bytes'"),
        (MINE.replace('"folder"', '"cifar10"'), "a card of yours is of kind 'folder'"),
        ("name = 'other'" + MINE, "unknown key"),
    ],
)
def test_a_damaged_card_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write_card(tmp_path, text)
    register_cards(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        get_card("mine")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cards_of_a_named_folder(tmp_path: Path) -> None:
    before = fingerprint(DataConfig())
    with pytest.raises(UsageError, match=r"cards folder .* is not a folder"):
        register_cards(tmp_path / "nowhere")
    write_card(tmp_path / "a")
    write_card(tmp_path / "b", name="other")
    shipped = resource_dir("datasets") / "cifar10.toml"
    write_card(tmp_path / "b", shipped.read_text(), "cifar10")  # the same card again is no other
    for folder in "aba":
        register_cards(tmp_path / folder)
    assert {"mine", "other", "cifar10"} <= set(list_datasets())
    assert list_datasets() == sorted(list_datasets())
    assert card_files()["cifar10"] == shipped
    assert get_card("mine").folder == "mine"
    assert fingerprint(DataConfig()) == before


def test_a_name_twice_names_both_files(tmp_path: Path) -> None:
    paths = [write_card(tmp_path / "a"), write_card(tmp_path / "b", MINE + "terms = 'none'\n")]
    for path in paths:
        register_cards(path.parent)
    with pytest.raises(UsageError) as caught:
        list_datasets()
    assert all(str(path) in str(caught.value) for path in paths)


def test_cards_of_an_installed_package(tmp_path: Path) -> None:
    """In a process of its own: what is installed is looked up once."""
    write_card(tmp_path / "pictures" / "cards")
    (tmp_path / "pictures" / "__init__.py").write_text("raise RuntimeError('a folder is looked at, nothing imported')")
    for folder, value in (("good", "pictures"), ("bad", "pictured")):
        info = tmp_path / folder / "pictures-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pictures\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[avq.datasets]\nours = {value}\n")
    write_card(tmp_path / "pictures")
    code = "import avq; print(*avq.list_datasets())"
    for folder, expected in (("good", "mine"), ("bad", "'pictured' is not a package")):
        path = os.pathsep.join(map(str, (Path(__file__).parents[2], tmp_path, tmp_path / folder)))
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
        assert expected in done.stdout + done.stderr


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "64"])
def test_counts_are_positive_whole_numbers_and_sizes_have_bounds(value: object) -> None:
    with pytest.raises(UsageError, match="train_images must be a positive whole number"):
        DataConfig(train_images=value)  # type: ignore[arg-type]
    for size in (8, 4096):
        with pytest.raises(UsageError, match="image_size must be from 16 to 2048 pixels"):
            DataConfig(image_size=size)


def test_every_setting_has_a_help_line() -> None:
    assert set(DATA_SETTINGS) == set(DataConfig.__dataclass_fields__)


def test_cards_settings_and_fingerprints_need_no_torch() -> None:
    code = (
        "import sys, avq.data.cards as c, avq.data.config, avq.data.fingerprint as f\n"
        "c.get_card('cifar10'); f.fingerprint(avq.data.config.DataConfig())\n"
        "assert not {'torch', 'torchvision', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
