from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avq.data import config, fingerprint, sources
from avq.data.cards import Card, get_card

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _one_thread_and_no_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Tests see neither the user's data root nor the user's cache."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.delenv("AVQ_DATA_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(threads)


_ROOT = Path(os.environ.get("AVQ_DATA_ROOT") or REPOSITORY.parent / "shared" / "data")


@pytest.fixture
def real_root() -> Path:
    """The folder of real images; the test is skipped where there is none."""
    if not _ROOT.is_dir():
        pytest.skip(f"no real images at {_ROOT} (set AVQ_DATA_ROOT)")
    return _ROOT


def write_cifar10(root: Path, card: Card, images_per_file: int = 20) -> Card:
    """A CIFAR-10 of a few random images in the official layout, and the card that describes it."""
    folder = root / card.folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in card.checksums:
        data = generator.integers(0, 256, (images_per_file, 3072), dtype=np.uint8)
        entry = {"data": data, "labels": [0] * images_per_file, "label_names": ["thing"]}
        (folder / name).write_bytes(pickle.dumps(entry))
    content = {name: (folder / name).read_bytes() for name in card.checksums}
    train = images_per_file * 5
    own = {
        "checksums": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
        "sizes": {name: len(data) for name, data in content.items()},
        "images": {"train": train - train // 10, "validation": train // 10, "test": images_per_file},
    }
    return card.model_copy(update=own)


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Card]:
    """A data root with a tiny CIFAR-10, known to the loader under that name."""
    root = tmp_path / "root"
    card = write_cifar10(root, get_card("cifar10"))
    for module in (sources, fingerprint, config):
        monkeypatch.setattr(module, "get_card", lambda name: card)
    return root, card


def photograph(number: int, width: int = 40, height: int = 36) -> Image.Image:
    """A picture unlike any other, smooth enough for JPEG."""
    generator = np.random.default_rng(number)
    small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def celebahq_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose `celebahq` holds forty made-up images; tests must not write to it."""
    root = tmp_path_factory.mktemp("photographs")
    folder = root / "celebahq" / "deeper"
    folder.mkdir(parents=True)
    for number in range(40):
        photograph(number).save(folder / f"{number:03}.{'png' if number % 2 else 'jpg'}", quality=90)
    return root
