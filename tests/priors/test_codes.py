"""Codes of a split are encoded once, flips too, and read from the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.models import create_variant
from avq.models.tokenizer import Tokenizer
from avq.priors.codes import Codes, codes_file, encode_once, smallest_type, tokenizer_layout


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    torch.manual_seed(0)
    return create_variant("vqvae2", 16, width=8, codebook_size=16, decoder_input="all").eval()


def test_flips_follow_and_nothing_is_encoded_twice(
    tokenizer: Tokenizer, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = tokenizer_layout(tokenizer, 16)
    path = codes_file(tmp_path, "0123456789abcdef-and-more", faces.train, flips=True)
    assert path.name == f"0123456789abcdef-{faces.train.fingerprint}-flips.npy"
    found = encode_once(tokenizer, faces.train, layout, path, flips=True)
    assert found.shape == (128, layout.length)
    assert found.dtype == np.uint8
    assert isinstance(found, np.memmap)
    for part, images in ((found[:64], faces.train.images), (found[64:], faces.train.images.flip(2))):
        with torch.no_grad():
            assert (part == layout.flatten(tokenizer.encode(to_model(images))).numpy()).all()
    calls: list[int] = []
    encode = tokenizer.encode
    monkeypatch.setattr(tokenizer, "encode", lambda images: calls.append(len(images)) or encode(images))
    assert (encode_once(tokenizer, faces.train, layout, path, flips=True) == found).all()
    assert not calls
    found = np.array(found)
    path.write_bytes(path.read_bytes()[:300])  # damaged
    assert (encode_once(tokenizer, faces.train, layout, path, flips=True) == found).all()
    assert sum(calls) == 128


@pytest.mark.parametrize(("size", "kind"), [(256, np.uint8), (257, np.uint16), (2**16, np.uint16), (2**17, np.int32)])
def test_the_smallest_type_holds_every_code(size: int, kind: type) -> None:
    assert smallest_type(size) is kind
    assert np.iinfo(kind).max >= size - 1


def test_batches_are_int64_with_their_classes() -> None:
    codes = Codes(np.arange(12, dtype=np.uint16).reshape(4, 3), np.array([5, 6, 7, 8]))
    sequences, labels = codes.batch(np.array([2, 0]))
    assert sequences.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert sequences.dtype == torch.int64
    assert labels is not None
    assert labels.tolist() == [7, 5]
