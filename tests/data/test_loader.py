from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.data.loader import Batches, to_model, to_uint8
from avq.data.sources import ImageSet

lengths = st.integers(1, 40)
sizes = st.integers(1, 60)
seeds = st.integers(0, 2**63)


def numbered(length: int) -> ImageSet:
    """Images whose every pixel is their own number; the left column is marked."""
    images = torch.arange(length, dtype=torch.uint8)[:, None, None, None].repeat(1, 4, 4, 3)
    images[:, :, 0, 1] = 255
    return ImageSet(images, None, "0" * 16)


@given(lengths, sizes, seeds)
@settings(max_examples=60)
def test_each_epoch_holds_each_image_once(length: int, size: int, seed: int) -> None:
    batches = Batches(numbered(length), size, seed, flip=False)
    steps = -(-3 * length // size)
    drawn = torch.cat([batches.batch(step)[:, 0, 0, 0] for step in range(steps)]).tolist()
    for epoch in range(3):
        assert sorted(drawn[epoch * length : (epoch + 1) * length]) == list(range(length))


@given(lengths, sizes, seeds, st.integers(0, 5000))
@settings(max_examples=60)
def test_a_resumed_run_gets_the_same_batches(length: int, size: int, seed: int, step: int) -> None:
    continuous, resumed, other = (Batches(numbered(length), size, seed, flip=True) for _ in range(3))
    numbers = range(max(0, step - 3), step + 2)
    before = [continuous.batch(number) for number in numbers]
    assert torch.equal(resumed.batch(step), before[-2])
    assert all(torch.equal(batch, other.batch(number)) for batch, number in zip(before, numbers, strict=True))
    assert torch.equal(continuous.batch(0), resumed.batch(0))


def test_batches_are_the_same_on_every_machine() -> None:
    assert Batches(numbered(10), 6, 3, flip=False).indices(1).tolist() == [1, 6, 5, 9, 7, 3]


def test_seeds_and_epochs_differ() -> None:
    first = Batches(numbered(40), 40, 1, flip=False)
    assert not np.array_equal(first.indices(0), first.indices(1))
    assert not np.array_equal(first.indices(0), Batches(numbered(40), 40, 2, flip=False).indices(0))


def test_half_of_the_images_are_mirrored_and_nothing_else_happens() -> None:
    plain, flipping = (Batches(numbered(40), 40, 5, flip=flip) for flip in (False, True))
    mirrored = 0
    for step in range(50):
        a, b = plain.batch(step), flipping.batch(step)
        turned = (b[:, 0, 3, 1] == 255) & (b[:, 0, 0, 1] != 255)
        assert torch.equal(torch.where(turned[:, None, None, None], b.flip(2), b), a)
        mirrored += int(turned.sum())
    assert abs(mirrored - 1000) < 4 * 22.4  # 4 standard deviations of a fair coin


def test_the_stored_images_are_never_written_to() -> None:
    images = numbered(8)
    before = images.images.clone()
    batches = Batches(images, 8, 0, flip=True)
    for step in range(4):
        batches.batch(step).fill_(7)
    assert torch.equal(images.images, before)


def test_every_level_survives_the_way_to_the_model_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, 3)
    images = to_model(levels)
    assert images.shape == (2, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.min() == -1
    assert images.max() == 1
    assert torch.equal(to_uint8(images), levels)


def test_to_uint8_clamps_and_rounds() -> None:
    values = torch.tensor([-3.0, -1.0, -1 + 0.9 / 127.5, 0.0, 1.0, 1.2]).expand(1, 3, 1, 6)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]
    assert to_uint8(values.to(torch.bfloat16)).dtype == torch.uint8


@given(lengths, st.integers(1, 12), st.integers(1, 6), seeds, st.integers(0, 500), st.booleans())
@settings(max_examples=60)
def test_ranks_share_the_batches_that_one_would_have(
    length: int, share: int, ranks: int, seed: int, step: int, flip: bool
) -> None:
    images, size = numbered(length), share * ranks
    alone = Batches(images, size, seed, flip).batch(step)
    shares = [Batches(images, size, seed, flip, rank=rank, ranks=ranks).batch(step) for rank in range(ranks)]
    assert torch.equal(torch.cat(shares), alone)
    assert {len(part) for part in shares} == {share}


@pytest.mark.parametrize(
    ("length", "size", "rank", "ranks"), [(0, 4, 0, 1), (4, 0, 0, 1), (8, 8, 0, 3), (8, 8, 4, 4), (8, 8, -1, 4)]
)
def test_impossible_batches_and_shares(length: int, size: int, rank: int, ranks: int) -> None:
    with pytest.raises(ValueError, match="equal share" if length == size else "cannot make batches"):
        Batches(numbered(length), size, 0, flip=False, rank=rank, ranks=ranks)


def test_batches_are_on_the_requested_device() -> None:
    assert Batches(numbered(8), 4, 0, flip=True, device="meta").batch(0).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_a_device_mirrors_as_the_processor_does() -> None:
    here, there = (Batches(numbered(40), 32, 3, flip=True, device=device) for device in ("cpu", "cuda"))
    for step in range(20):
        assert torch.equal(here.batch(step), there.batch(step).cpu())
