from __future__ import annotations

import re

import pytest
import torch

from avq.data.config import DataConfig, resolve
from avq.data.fingerprint import fingerprint
from avq.data.sources import load_dataset
from avq.errors import UsageError

SMALL = {"train_images": 20, "validation_images": 10, "test_images": 12}


def test_the_embedded_default() -> None:
    dataset = load_dataset(DataConfig(**SMALL))
    assert dataset.name == "synthetic-faces"
    assert dataset.image_size == 32
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (20, 10, 12)
    mask = dataset.test.second_eye
    assert mask is not None
    assert (mask.shape, mask.dtype) == ((12, 32, 32), torch.bool)
    assert dataset.test.images.dtype == torch.uint8


def test_default_counts_and_sizes_come_from_the_card() -> None:
    resolved = resolve(DataConfig("synthetic-faces-independent"))
    assert resolved == DataConfig("synthetic-faces-independent", 32, 4096, 512, 1024)


def test_a_subset_is_the_beginning_of_the_whole() -> None:
    whole, some = load_dataset(DataConfig(**SMALL)), load_dataset(DataConfig(**{**SMALL, "train_images": 5}))
    assert torch.equal(some.train.images, whole.train.images[:5])
    assert some.validation.fingerprint == whole.validation.fingerprint
    assert some.train.fingerprint != whole.train.fingerprint


def test_the_two_versions_share_all_but_the_second_eye_and_panel() -> None:
    coupled = load_dataset(DataConfig(**SMALL))
    independent = load_dataset(DataConfig("synthetic-faces-independent", **SMALL))
    assert torch.equal(coupled.test.images[:, :, :15], independent.test.images[:, :, :15])
    assert not torch.equal(coupled.test.images, independent.test.images)
    assert torch.equal(coupled.test.second_eye, independent.test.second_eye)  # type: ignore[arg-type]


def test_configurations_have_different_fingerprints() -> None:
    counts = [DataConfig(**{name: 100}) for name in SMALL]
    configs = [DataConfig(), DataConfig("synthetic-faces-independent"), DataConfig(image_size=64), *counts]
    found = [fingerprint(config) for config in configs]
    assert len(set(found)) == len(configs) == 6
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in found)
    assert fingerprint(DataConfig(image_size=32, train_images=4096)) == found[0]


def test_unknown_dataset() -> None:
    for call in (load_dataset, fingerprint):
        with pytest.raises(UsageError, match="'synthetic-face'; did you mean 'synthetic-faces'"):
            call(DataConfig("synthetic-face"))
