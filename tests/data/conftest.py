from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

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


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Card]:
    """A data root with a CIFAR-10 of 120 random images in the official layout, known to the loader under that name."""
    root, card = tmp_path / "root", get_card("cifar10")
    folder = root / card.folder
    folder.mkdir(parents=True)
    generator, files = np.random.default_rng(0), {}
    for name in card.checksums:
        data = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
        files[name] = pickle.dumps({"data": data, "labels": [0] * 20, "label_names": ["thing"]})
        (folder / name).write_bytes(files[name])
    own = {
        "checksums": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "sizes": {name: len(data) for name, data in files.items()},
        "images": {"train": 90, "validation": 10, "test": 20},
    }
    card = card.model_copy(update=own)
    for module in (sources, fingerprint, config):
        monkeypatch.setattr(module, "get_card", lambda name: card)
    return root, card
