from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from avq.data import cifar10
from avq.data.cards import Card, get_card
from avq.data.config import DataConfig
from avq.data.fingerprint import fingerprint
from avq.data.sources import Dataset, load_dataset
from avq.errors import AvqError, UsageError

CONFIG = DataConfig("cifar10")


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_three_disjoint_splits_hold_every_image(tiny_cifar10: tuple[Path, Card]) -> None:
    root, card = tiny_cifar10
    dataset = load_dataset(CONFIG, root)
    parts = dataset.train, dataset.validation, dataset.test
    train, validation, test = (rows(part.images) for part in parts)
    assert (len(train), len(validation), len(test)) == (90, 10, 20)
    reader = [cifar10.read_planes(card, root, prefix).transpose(0, 2, 3, 1) for prefix in ("data_batch", "test_batch")]
    assert train | validation == rows(torch.from_numpy(reader[0].copy()))
    assert test == rows(torch.from_numpy(reader[1].copy()))
    assert dataset.train.second_eye is None


def test_a_subset_is_the_beginning_of_the_whole(tiny_cifar10: tuple[Path, Card]) -> None:
    root, _ = tiny_cifar10
    whole = load_dataset(CONFIG, root)
    some = load_dataset(DataConfig("cifar10", train_images=7, validation_images=3, test_images=2), root)
    assert torch.equal(some.train.images, whole.train.images[:7])
    assert torch.equal(some.validation.images, whole.validation.images[:3])
    assert torch.equal(some.test.images, whole.test.images[:2])
    assert some.train.fingerprint != whole.train.fingerprint


def test_smaller_images_are_reduced_and_larger_ones_refused(tiny_cifar10: tuple[Path, Card]) -> None:
    root, _ = tiny_cifar10
    dataset = load_dataset(DataConfig("cifar10", image_size=16), root)
    assert dataset.test.images.shape == (20, 16, 16, 3)
    with pytest.raises(UsageError, match="cifar10 is 32x32"):
        load_dataset(DataConfig("cifar10", image_size=64), root)


def test_more_images_than_there_are(tiny_cifar10: tuple[Path, Card]) -> None:
    root, _ = tiny_cifar10
    with pytest.raises(UsageError, match="cifar10 has 90 train images; train_images = 91 asks for more"):
        fingerprint(DataConfig("cifar10", train_images=91), root)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: None, "lacks the file"),
        (lambda data: data[:-100], "is truncated .[0-9,]+ of [0-9,]+ bytes"),
        (lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], "damaged or was changed"),
        (lambda data: data + b"x", "not the official file"),
        (lambda data: b"<html>quota exceeded</html>", "is truncated"),
    ],
)
def test_a_bad_file_is_named(
    tiny_cifar10: tuple[Path, Card], name: str, damage: Callable[[bytes], bytes | None], message: str
) -> None:
    root, card = tiny_cifar10
    path = root / card.folder / name
    data = damage(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    for call in (load_dataset, fingerprint):
        with pytest.raises(UsageError, match=message) as caught:
            call(CONFIG, root)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_named_root_without_the_files_is_an_error_not_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "download", lambda *_: pytest.fail("downloaded"))
    for call in (load_dataset, fingerprint):
        with pytest.raises(UsageError, match="cifar10 is not at"):
            call(CONFIG, tmp_path)
    monkeypatch.setenv("AVQ_DATA_ROOT", str(tmp_path))
    with pytest.raises(UsageError, match="cifar10 is not at"):
        load_dataset(CONFIG)
    monkeypatch.setenv("AVQ_DATA_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"from \$AVQ_DATA_ROOT"):
        load_dataset(CONFIG)


def test_a_download_goes_to_the_cache_and_happens_once(
    tiny_cifar10: tuple[Path, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, card = tiny_cifar10
    calls = []
    (tmp_path / "cache" / card.folder).mkdir(parents=True)
    (tmp_path / "cache" / card.folder / "data_batch_1").write_text("left over")

    def fetch(root: str, download: bool) -> None:
        calls.append(root)
        (source / card.folder).rename(Path(root) / card.folder)

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fetch)
    predicted = fingerprint(CONFIG)
    cifar10.download(card, tmp_path / "cache")
    cifar10.download(card, tmp_path / "cache")
    assert len(calls) == 1
    assert fingerprint(CONFIG, tmp_path / "cache") == predicted
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == [".cifar10.lock", card.folder]


def test_without_a_network_one_line_says_what_to_do(
    tiny_cifar10: tuple[Path, Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(root: str, download: bool) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fetch)
    with pytest.raises(AvqError, match=r"could not download cifar10 .*--data-root") as caught:
        load_dataset(CONFIG)
    assert "\n" not in str(caught.value)


def test_the_real_files(real_root: Path) -> None:
    if not (real_root / get_card("cifar10").folder).is_dir():
        pytest.skip(f"no CIFAR-10 at {real_root}")
    start = time.process_time()
    predicted = fingerprint(CONFIG, real_root)
    dataset: Dataset = load_dataset(CONFIG, real_root)
    assert time.process_time() - start < 4
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (45_000, 5_000, 10_000)
    assert predicted == "6c67399b83d3a270"
    assert dataset.train.fingerprint == "0648804350c2bbca"
    assert dataset.train.images.is_contiguous()
    mean = dataset.train.images[:10_000].double().mean((0, 1, 2)) / 255
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64), atol=0.005)
