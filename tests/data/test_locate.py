"""Where runs find their images: prepared sets, plain folders, the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avq.data import chunks
from avq.data.cards import get_card
from avq.data.config import DataConfig
from avq.data.fingerprint import fingerprint
from avq.data.open import open_container
from avq.data.prepare import prepare
from avq.data.resize import fit_square
from avq.data.roots import cache_root
from avq.data.sources import Dataset, load_dataset
from avq.errors import UsageError

from .made import as_folder, as_zip, encoded, photographs, picture, snapshot

CONFIG = DataConfig("celebahq", image_size=16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    as_folder(photographs(40), tmp_path / "root" / "celebahq")
    return tmp_path / "root"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is decoded from now on."""
    seen: list[bytes] = []
    whole = chunks.decode
    monkeypatch.setattr(chunks, "decode", lambda data, size: seen.append(data) or whole(data, size))
    return seen


def prepare_into(output: Path, source: Path, name: str = "celebahq", size: int = 16, **options: int) -> None:
    prepare(get_card(name), open_container(source), size, output, processes=False, **options)  # type: ignore[arg-type]


def same(first: Dataset, second: Dataset) -> bool:
    return all(
        torch.equal(getattr(first, part).images, getattr(second, part).images)
        and getattr(first, part).fingerprint == getattr(second, part).fingerprint
        for part in ("train", "validation", "test")
    )


def rows(dataset: Dataset) -> list[set[bytes]]:
    parts = (dataset.train, dataset.validation, dataset.test)
    return [{image.numpy().tobytes() for image in part.images} for part in parts]


def test_every_image_lands_in_one_split(root: Path) -> None:
    dataset = load_dataset(CONFIG, root)
    train, validation, test = rows(dataset)
    assert len(train | validation | test) == len(train) + len(validation) + len(test) == 40
    assert dataset.train.images.shape[1:] == (16, 16, 3)
    assert len(train) > len(test) > 0


def test_names_and_containers_do_not_matter(root: Path, tmp_path: Path) -> None:
    """Renamed, moved and repacked (the JPEG's pixels as PNG), every image stays where it was."""
    folder = tmp_path / "celebahq"
    folder.mkdir()
    for number, path in enumerate(sorted(root.rglob("*.*g"))):
        with Image.open(path) as image:
            image.convert("RGB").save(folder / f"other{97 * number % 41}.png")
    before, after = load_dataset(CONFIG, root), load_dataset(CONFIG, tmp_path)
    assert torch.equal(before.train.images, after.train.images)
    assert torch.equal(before.test.images, after.test.images)
    assert before.validation.fingerprint == after.validation.fingerprint


def test_added_images_move_no_other_and_copies_share_one_split(root: Path) -> None:
    before, fingerprint_before = rows(load_dataset(CONFIG, root)), fingerprint(CONFIG, root)
    copies = {f"again-{name}": data for name, data in photographs(10).items()}
    as_folder(photographs(10, start=50) | copies, root / "celebahq")
    after = rows(load_dataset(CONFIG, root))
    assert all(old <= new for old, new in zip(before, after, strict=True))
    assert sum(map(len, after)) == len(set.union(*after))
    assert fingerprint(CONFIG, root) != fingerprint_before


def test_the_fingerprint_follows_bytes_not_names(root: Path) -> None:
    before = fingerprint(CONFIG, root)
    (root / "celebahq" / "000.jpg").rename(root / "celebahq" / "renamed.jpg")
    assert fingerprint(CONFIG, root) == before
    as_folder({"._renamed.jpg": b"resource fork", "notes.txt": b"not an image"}, root / "celebahq")
    assert fingerprint(CONFIG, root) == before
    assert fingerprint(DataConfig("celebahq", image_size=24), root) != before


def test_the_crop_is_central_and_the_filter_antialiased() -> None:
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 200
    assert (fit_square(Image.fromarray(wide), 16)[:, 1:-1] >= 199).all()
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::2] = 255
    assert abs(int(fit_square(Image.fromarray(fine), 16)[8, 8, 0]) - 127) < 8


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"celebahq is not at .*put the images"):
        load_dataset(CONFIG, tmp_path)
    (tmp_path / "celebahq").mkdir()
    with pytest.raises(UsageError, match="no image"):
        fingerprint(CONFIG, tmp_path)
    as_folder(photographs(1), tmp_path / "celebahq")
    with pytest.raises(UsageError, match="has only 1 images"):
        load_dataset(CONFIG, tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        load_dataset(CONFIG, tmp_path / "celebahq" / "000.jpg")


def test_more_images_than_there_are(root: Path) -> None:
    with pytest.raises(UsageError, match="train_images = 100 asks for more"):
        load_dataset(DataConfig("celebahq", image_size=16, train_images=100), root)


def test_a_plain_folder_is_decoded_once_and_never_written_to(root: Path, decoded: list[bytes]) -> None:
    before = snapshot(root)
    predicted = fingerprint(CONFIG, root)
    assert not decoded
    first = load_dataset(CONFIG, root)
    assert len(decoded) == 40
    second = load_dataset(CONFIG, root)
    assert len(decoded) == 40
    assert same(first, second)
    assert fingerprint(CONFIG, root) == predicted
    assert snapshot(root) == before
    load_dataset(DataConfig("celebahq", image_size=24), root)
    assert len(decoded) == 80


def test_a_folder_that_changed_is_prepared_again(root: Path, decoded: list[bytes]) -> None:
    load_dataset(CONFIG, root)
    (root / "celebahq" / "new.png").write_bytes(encoded(picture(99), "PNG"))
    (root / "celebahq" / "000.jpg").unlink()
    dataset = load_dataset(CONFIG, root)
    assert len(decoded) == 80
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 40


def test_renamed_files_are_still_the_same_images(root: Path, decoded: list[bytes]) -> None:
    load_dataset(CONFIG, root)
    (root / "celebahq" / "000.jpg").rename(root / "celebahq" / "z.jpg")
    load_dataset(CONFIG, root)
    assert len(decoded) == 40


def test_a_damaged_set_of_our_own_is_made_again(root: Path, decoded: list[bytes]) -> None:
    whole = load_dataset(CONFIG, root)
    train = whole.train.images.clone()
    (file,) = cache_root().rglob("celebahq-16/train.npy")
    file.write_bytes(file.read_bytes()[:-100])
    assert torch.equal(load_dataset(CONFIG, root).train.images, train)
    assert len(decoded) == 80


def test_runs_find_what_was_prepared_in_the_cache(root: Path, tmp_path: Path, decoded: list[bytes]) -> None:
    plain, predicted = load_dataset(CONFIG, root), fingerprint(CONFIG, root)
    prepare_into(cache_root(), as_zip(photographs(40), tmp_path / "faces"))
    decoded.clear()
    assert same(load_dataset(CONFIG), plain)
    assert fingerprint(CONFIG) == predicted, "a zip of the same files is the same data"
    (tmp_path / "other").mkdir()
    assert same(load_dataset(CONFIG, tmp_path / "other"), plain), "a root without it leads to the cache"
    (tmp_path / "faces.zip").unlink()
    load_dataset(CONFIG)
    assert not decoded


def test_a_set_in_the_root_comes_first_and_one_from_the_folder_is_found(root: Path, decoded: list[bytes]) -> None:
    prepare_into(cache_root(), root / "celebahq")
    decoded.clear()
    load_dataset(CONFIG, root)
    assert not decoded, "prepared beforehand from this very folder"
    prepare_into(root, as_zip(photographs(50, start=500), root.parent / "other"))
    decoded.clear()
    dataset = load_dataset(CONFIG, root)
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 50
    assert not decoded


def test_the_fingerprint_of_a_prepared_set_reads_the_manifest_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_into(tmp_path / "sets", root / "celebahq")
    predicted = fingerprint(CONFIG, root)
    shutil.rmtree(root)
    opened: list[str] = []
    whole = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **o: opened.append(path.name) or whole(path, *a, **o))
    start = time.process_time()
    assert fingerprint(CONFIG, tmp_path / "sets") == predicted
    assert time.process_time() - start < 0.1
    assert set(opened) <= {"manifest.json"}


def test_images_are_mapped_and_never_written_back(root: Path) -> None:
    dataset = load_dataset(CONFIG, root)
    (file,) = cache_root().rglob("celebahq-16/train.npy")
    before = file.read_bytes()
    dataset.train.images.fill_(7)
    assert file.read_bytes() == before
    assert (load_dataset(CONFIG, root).train.images != 7).any()


def test_a_count_is_the_beginning_and_has_its_own_fingerprint(root: Path) -> None:
    whole = load_dataset(CONFIG, root)
    some = load_dataset(DataConfig("celebahq", 16, train_images=5), root)
    assert torch.equal(some.train.images, whole.train.images[:5])
    assert some.train.fingerprint != whole.train.fingerprint
    every = load_dataset(DataConfig("celebahq", 16, train_images=len(whole.train)), root)
    assert every.train.fingerprint == whole.train.fingerprint


def test_your_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pics = as_folder(photographs(40), tmp_path / "pics")
    config = DataConfig("folder", image_size=16)
    mine = load_dataset(config, pics)
    assert sum(map(len, (mine.train, mine.validation, mine.test))) == 40
    monkeypatch.setenv("AVQ_DATA_ROOT", str(pics))
    assert same(load_dataset(config), mine)
    monkeypatch.delenv("AVQ_DATA_ROOT")
    with pytest.raises(UsageError, match=r"folder is not at|no image in .*name a folder of images"):
        load_dataset(config)
    prepare_into(cache_root(), as_zip(photographs(40), tmp_path / "pics"), "folder")
    assert same(load_dataset(config), mine)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no image in"):
        load_dataset(config, tmp_path / "empty")


def test_another_size_than_the_prepared_one(root: Path, tmp_path: Path) -> None:
    prepare_into(tmp_path / "sets", root / "celebahq")
    with pytest.raises(UsageError, match=r"prepared at 16 pixels, not at 24: avq-bench data prepare celebahq"):
        load_dataset(DataConfig("celebahq", image_size=24), tmp_path / "sets")


def test_bad_images_that_were_accepted_stay_out(root: Path) -> None:
    (root / "celebahq" / "bad.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"celebahq/bad\.jpg: empty file.*--max-bad N"):
        load_dataset(CONFIG, root)
    prepare_into(cache_root(), root / "celebahq", max_bad=1)
    dataset = load_dataset(CONFIG, root)
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 40
    assert len(fingerprint(CONFIG, root)) == 16


def test_several_at_once_prepare_it_once(root: Path, decoded: list[bytes]) -> None:
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda _: load_dataset(CONFIG, root), range(4)))
    assert len(decoded) == 40
    assert all(same(sets[0], other) for other in sets)


def test_a_cache_that_cannot_be_written_is_one_clear_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "avq", "data", "sheet", "celebahq", "--data-root", root, "-o", tmp_path / "a.png"],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file"), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


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
