from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avq.data.cards import get_card, list_datasets, parse_card
from avq.data.config import DATA_SETTINGS, DataConfig
from avq.errors import AvqError, UsageError


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
    with pytest.raises(UsageError, match="did you mean 'cifar10'"):
        get_card("cifar-10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = 'folder'\nsumary = 'x'", "did you mean 'summary'"),
        ("kind = 'folder'", "lacks citation"),
        ("kind = ", "cannot be read"),
    ],
)
def test_a_damaged_card_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(AvqError, match=message) as caught:
        parse_card("mine", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_kind(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "datasets" / "celebahq.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('kind = "folder"', 'kind = "foldr"'))
    with pytest.raises(AvqError, match="did you mean 'folder'"):
        parse_card("mine", path)


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "64"])
def test_counts_must_be_positive_whole_numbers(value: object) -> None:
    with pytest.raises(UsageError, match="train_images must be a positive whole number"):
        DataConfig(train_images=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [8, 4096])
def test_sizes_have_bounds(size: int) -> None:
    with pytest.raises(UsageError, match="image_size"):
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
