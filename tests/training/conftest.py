"""Small data and models for training tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from avq.data.config import DataConfig
from avq.data.sources import Dataset, load_dataset

sys.path.insert(0, str(Path(__file__).parent))  # `torchrun` starts shared_training.py, and tests import it


@pytest.fixture(scope="session")
def faces() -> Dataset:
    return load_dataset(DataConfig("synthetic-faces", 16, train_images=64, validation_images=16, test_images=24))
