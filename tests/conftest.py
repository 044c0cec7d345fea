"""What all tests share: one thread, no network's worth of caches, no store or data root of the person who tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from avq.data.sources import Dataset

# Before torch is imported: several small tests side by side are faster with one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# A busy machine is no fault of what is tested: timings are never asserted.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begins first, so that no core is left with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A test neither sees nor touches what the person who runs it keeps in caches and data folders."""
    for name in ("AVQ_DATA_ROOT", "AVQ_DATASETS", "AVQ_WEIGHTS_DIR", "TORCH_HOME"):
        monkeypatch.setenv(name, "")  # so that what a test sets is gone after it
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is new and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def faces() -> Dataset:
    """A few drawn faces of 16 px."""
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset

    return load_dataset(DataConfig("synthetic-faces", 16, train_images=64, validation_images=16, test_images=24))
