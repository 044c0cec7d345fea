from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avq.data.cards import get_card
from avq.data.config import DataConfig
from avq.data.fingerprint import fingerprint
from avq.data.sources import Dataset, load_dataset
from avq.errors import UsageError

from .conftest import photograph

CONFIG = DataConfig("celebahq", image_size=16)


def rows(dataset: Dataset) -> list[set[bytes]]:
    parts = (dataset.train, dataset.validation, dataset.test)
    return [{image.numpy().tobytes() for image in part.images} for part in parts]


@pytest.fixture
def copy(celebahq_root: Path, tmp_path: Path) -> Path:
    root = tmp_path / "copy"
    shutil.copytree(celebahq_root, root)
    return root


def test_every_image_lands_in_one_split(celebahq_root: Path) -> None:
    dataset = load_dataset(CONFIG, celebahq_root)
    train, validation, test = rows(dataset)
    assert len(train | validation | test) == 40
    assert len(train) + len(validation) + len(test) == 40
    assert dataset.train.images.shape[1:] == (16, 16, 3)
    assert len(train) > len(test) > 0


def test_names_and_containers_do_not_matter(celebahq_root: Path, tmp_path: Path) -> None:
    """Renamed, moved and repacked (the JPEG's pixels as PNG), every image stays where it was."""
    folder = tmp_path / "celebahq"
    folder.mkdir()
    for number, path in enumerate(sorted(celebahq_root.rglob("*.*g"))):
        with Image.open(path) as image:
            image.convert("RGB").save(folder / f"other{97 * number % 41}.png")
    before, after = load_dataset(CONFIG, celebahq_root), load_dataset(CONFIG, tmp_path)
    assert torch.equal(before.train.images, after.train.images)
    assert torch.equal(before.test.images, after.test.images)
    assert before.validation.fingerprint == after.validation.fingerprint


def test_added_images_move_none_and_duplicates_do_not_straddle(copy: Path) -> None:
    before = rows(load_dataset(CONFIG, copy))
    fingerprint_before = fingerprint(CONFIG, copy)
    for number in range(50, 60):
        photograph(number).save(copy / "celebahq" / f"new{number}.png")
    for path in sorted((copy / "celebahq" / "deeper").iterdir())[:10]:
        shutil.copy(path, copy / "celebahq" / f"again-{path.name}")
    after = rows(load_dataset(CONFIG, copy))
    assert all(old <= new for old, new in zip(before, after, strict=True))
    assert not after[0] & after[1]
    assert not after[0] & after[2]
    assert not after[1] & after[2]
    assert fingerprint(CONFIG, copy) != fingerprint_before


def test_the_fingerprint_follows_bytes_not_names(copy: Path) -> None:
    before = fingerprint(CONFIG, copy)
    first = min((copy / "celebahq" / "deeper").iterdir())
    first.rename(copy / "celebahq" / "renamed.jpg")
    assert fingerprint(CONFIG, copy) == before
    (copy / "celebahq" / "._renamed.jpg").write_bytes(b"resource fork")
    (copy / "celebahq" / "notes.txt").write_text("not an image")
    assert fingerprint(CONFIG, copy) == before
    assert fingerprint(DataConfig("celebahq", image_size=24), copy) != before


def test_odd_images_become_rgb_squares(tmp_path: Path, celebahq_root: Path) -> None:
    shutil.copytree(celebahq_root, tmp_path, dirs_exist_ok=True)
    picture = photograph(99)
    for mode in ("L", "P", "CMYK", "RGBA", "1"):
        suffix = "jpg" if mode == "CMYK" else "png"
        picture.convert(mode).save(tmp_path / "celebahq" / f"odd-{mode}.{suffix}")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "celebahq" / "turned.jpg", exif=turned)
    dataset = load_dataset(CONFIG, tmp_path)
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 46


def test_the_crop_is_central_and_the_filter_antialiased(tmp_path: Path) -> None:
    from avq.data.resize import fit_square

    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 200
    assert (fit_square(Image.fromarray(wide), 16)[:, 1:-1] >= 199).all()
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::2] = 255
    assert abs(int(fit_square(Image.fromarray(fine), 16)[8, 8, 0]) - 127) < 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"<html>quota exceeded</html>", "cannot identify image file .* web page"),
        (None, "truncated"),
    ],
)
def test_a_damaged_image_is_named(copy: Path, content: bytes | None, message: str) -> None:
    victim = sorted((copy / "celebahq" / "deeper").iterdir())[4]
    victim.write_bytes(victim.read_bytes()[:-300] if content is None else content)
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset(CONFIG, copy)
    assert str(victim) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_damaged_images_are_counted(copy: Path) -> None:
    for path in sorted((copy / "celebahq" / "deeper").iterdir())[3:8]:
        path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"5 of 40 images, the first .*003"):
        load_dataset(CONFIG, copy)


@given(
    st.integers(0, 39),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=40),
    st.integers(0, 10**6) | st.none(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_one_clear_error_or_none(
    celebahq_root: Path, tmp_path: Path, number: int, hits: list[tuple[int, int]], cut: int | None
) -> None:
    """Bytes changed anywhere, perhaps the end cut off: the file is named, or used where it still decodes."""
    folder = tmp_path / "celebahq"
    if not folder.exists():
        shutil.copytree(celebahq_root / "celebahq" / "deeper", folder)
    victim = sorted(folder.iterdir())[number]
    whole = victim.read_bytes()
    data = bytearray(whole)
    for place, value in hits:
        data[place % len(data)] = value
    victim.write_bytes(data[: cut % len(data)] if cut is not None else data)
    message = ""
    try:
        load_dataset(CONFIG, tmp_path)
    except UsageError as error:
        message = str(error)
    finally:
        victim.write_bytes(whole)
    assert "\n" not in message
    assert not message or str(victim) in message


def test_images_too_small_are_refused(celebahq_root: Path) -> None:
    with pytest.raises(UsageError, match="smaller than 48x48"):
        load_dataset(DataConfig("celebahq", image_size=48), celebahq_root)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"celebahq is not at .*put the images"):
        load_dataset(CONFIG, tmp_path)
    (tmp_path / "celebahq").mkdir()
    with pytest.raises(UsageError, match="no image"):
        fingerprint(CONFIG, tmp_path)
    photograph(1).save(tmp_path / "celebahq" / "only.png")
    with pytest.raises(UsageError, match="has only 1 images"):
        load_dataset(CONFIG, tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        load_dataset(CONFIG, tmp_path / "celebahq" / "only.png")


def test_more_images_than_there_are(celebahq_root: Path) -> None:
    with pytest.raises(UsageError, match="train_images = 100 asks for more"):
        load_dataset(DataConfig("celebahq", image_size=16, train_images=100), celebahq_root)


@pytest.mark.parametrize("name", ["celebahq", "lsun-bedroom"])
def test_the_real_folders(real_root: Path, name: str) -> None:
    if not (real_root / get_card(name).folder).is_dir():
        pytest.skip(f"no {name} at {real_root}")
    config = DataConfig(name, train_images=100)
    assert fingerprint(config, real_root) == fingerprint(config, real_root)
    dataset = load_dataset(config, real_root)
    assert dataset.train.images.shape == (100, 64, 64, 3)
    assert len(dataset.validation) > 100
    assert len(dataset.test) > 200
