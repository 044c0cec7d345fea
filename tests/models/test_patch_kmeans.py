"""The baseline against scikit-free arithmetic: patches that are exactly K colours are coded without loss."""

from __future__ import annotations

import torch

from avq.data.loader import to_model
from avq.models import create_variant


def test_patches_of_few_kinds_are_coded_without_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(256, (5, 4, 4, 3), dtype=torch.uint8, generator=generator)
    which = torch.randint(5, (40, 2, 3), generator=generator)
    images = kinds[which].permute(0, 1, 3, 2, 4, 5).reshape(40, 8, 12, 3)
    baseline = create_variant("patch-kmeans", codebook_size=32)
    baseline.fit(images, seed=0)
    result = baseline(to_model(images))
    assert result.codes[0].shape == (40, 2, 3)
    assert (result.images - to_model(images)).abs().max() < 2e-3  # the centroids are float32 means


def test_the_fit_is_the_seeds() -> None:
    images = torch.randint(256, (20, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    books = []
    for seed in (0, 0, 1):
        baseline = create_variant("patch-kmeans", codebook_size=8)
        baseline.fit(images, seed=seed)
        books.append(baseline.codebook)
    assert torch.equal(books[0], books[1])  # type: ignore[arg-type]
    assert not torch.equal(books[0], books[2])  # type: ignore[arg-type]
