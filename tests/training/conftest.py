"""Small data and models for training tests."""

from __future__ import annotations

import pytest

from avq.data.config import DataConfig
from avq.data.sources import Dataset, load_dataset


@pytest.fixture(scope="session")
def faces() -> Dataset:
    return load_dataset(DataConfig("synthetic-faces", 16, train_images=64, validation_images=16, test_images=24))
