"""Files from any tool give, number for number, what `evaluate` gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avq.data.hashing import fingerprint_of_images
from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.errors import UsageError
from avq.evaluation.evaluate import evaluate
from avq.external import score as module
from avq.external.eight_bit import eight_bit, eight_bit_rows, export_pairs
from avq.external.images import open_images
from avq.external.score import fingerprint, open_pairs, score
from avq.metrics.attention import ATTENTION
from avq.metrics.measurement import Measurement
from avq.models import Tokenizer, create_variant

NOT_IN_FILES = {*ATTENTION, "eye-mae"}  # these need the model, or a mask; so do knock-out and gap, absent here


@pytest.fixture(scope="module")
def model() -> Tokenizer:
    torch.manual_seed(1)
    model = create_variant("aren-2", 16, width=8, code_dim=8, codebook_size=16, decoder_input="all")
    model.initialise_codebooks(torch.rand(64, 3, 16, 16) * 2 - 1)
    return model.eval()


@pytest.fixture(scope="module")
def written(model: Tokenizer, faces: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "new"
    export_pairs(model, faces.test, folder)
    return folder


def comparable(rows: list[Measurement]) -> list[Measurement]:
    return [row for row in rows if row.metric not in NOT_IN_FILES]


def test_pngs_give_number_for_number_what_evaluate_gives(model: Tokenizer, faces: Dataset, written: Path) -> None:
    pairs = open_pairs(written / "originals", written / "reconstructions", written / "codes.npz", [16])
    mine = comparable(score(*pairs, faces=True).measurements)
    theirs = {(row.metric, row.level): row for row in rounded(model, faces)}
    assert {"mae", "mae-sigma", "mse", "psnr", "ssim", "perplexity", "bits-per-pixel"} <= {row.metric for row in mine}
    for row in mine:
        assert row == theirs[row.metric, row.level]  # value, standard error, n and protocol id, to the last bit


def rounded(model: Tokenizer, faces: Dataset) -> list[Measurement]:
    with eight_bit(model):
        return eight_bit_rows(evaluate(model, faces).measurements)


def test_rounding_is_seen_in_the_numbers_and_in_their_protocol(model: Tokenizer, faces: Dataset) -> None:
    through_bytes = rounded(model, faces)
    for plain, other in zip(evaluate(model, faces).measurements, through_bytes, strict=True):
        if plain.metric in ("mae", "mse", "psnr"):
            assert plain.value != other.value
            assert plain.value == pytest.approx(other.value, abs=0.05 if plain.metric == "psnr" else 1e-4)
            assert other.protocol == f"{plain.protocol};recon=uint8"
        if plain.metric in ("perplexity", "bits-per-pixel"):
            assert plain == other
        assert plain.status == other.status


def test_rounding_ends_with_its_block(model: Tokenizer, faces: Dataset) -> None:
    images = to_model(faces.test.images[:2])
    plain = model(images).images
    with eight_bit(model):
        levels = (model(images).images + 1) * 127.5
        assert torch.equal(model.decode(model.encode(images)), model(images).images)
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert torch.equal(model(images).images, plain)
    assert torch.equal(model.decode(model.encode(images)), plain)


def test_float_arrays_give_what_evaluate_gives_without_rounding(
    model: Tokenizer, faces: Dataset, tmp_path: Path
) -> None:
    with torch.no_grad():
        rebuilt = model(to_model(faces.test.images)).images
    np.save(tmp_path / "x.npy", faces.test.images.numpy())
    np.save(tmp_path / "y.npy", rebuilt.numpy())
    pairs = open_pairs(tmp_path / "x.npy", tmp_path / "y.npy", ranges=(None, "signed"))
    mine = {row.metric: row for row in score(*pairs).measurements}
    theirs = {row.metric: row for row in evaluate(model, faces).measurements}
    for metric in ("mae", "mae-sigma", "mse", "psnr"):
        assert mine[metric].protocol == theirs[metric].protocol
        assert mine[metric].value == pytest.approx(theirs[metric].value, rel=1e-6)
    assert mine["perplexity"].reason == "no codes were given (--codes)"


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_do_not_matter(written: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = open_pairs(written / "originals", written / "reconstructions", written / "codes.npz", [16])
    whole = score(*pairs).measurements
    monkeypatch.setattr(module, "EVALUATION_PIXELS", batch * 16 * 16)
    for one, other in zip(score(*pairs).measurements, whole, strict=True):
        assert replace(one, value=None, stderr=None) == replace(other, value=None, stderr=None)
        pairs = ((one.value, other.value), (one.stderr, other.stderr))
        # A network's last digit depends on its batch.
        assert all(x == y or x == pytest.approx(y, rel=1e-5) for x, y in pairs)


def test_the_fingerprint_is_that_of_the_dataset(written: Path, faces: Dataset) -> None:
    assert fingerprint(open_images(written / "originals", "originals")) == faces.test.fingerprint


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
UNIT = PIXELS / np.float32(255)
FORMS = {
    "uint8": PIXELS, "unit": UNIT, "signed": UNIT * 2 - 1, "byte": PIXELS.astype(np.float64),
    "half": UNIT.astype(np.float16), "first": UNIT.transpose(0, 3, 1, 2).copy(),
}  # fmt: skip


@pytest.mark.parametrize("form", [*FORMS, "npz"])
def test_one_set_of_8_bit_images_in_many_forms_has_one_fingerprint(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("x.npz" if form == "npz" else "x.npy")
    if form == "npz":
        np.savez_compressed(path, images=PIXELS, other=np.zeros(3))
    else:
        np.save(path, FORMS[form])
    images = open_images(path, "originals")
    assert images.eight_bit
    assert fingerprint(images) == fingerprint_of_images(PIXELS)


def test_no_more_than_a_batch_is_read_at_once(written: Path, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", np.zeros((50, 8, 8, 3), np.uint8))
    for path in (written / "originals", tmp_path / "x.npz"):
        sizes = [len(batch) for batch in open_images(path, "originals").batches(7)]
        assert max(sizes) == 7
        assert sum(sizes) == len(open_images(path, "originals"))


def test_files_of_two_models_do_not_mix(model: Tokenizer, faces: Dataset, written: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        export_pairs(model, faces.test, written)


def save(folder: Path, pixels: np.ndarray) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def test_images_that_are_not_square_have_errors_and_no_rate(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3), dtype=np.uint8)
    pairs = open_pairs(save(tmp_path / "a", pixels), save(tmp_path / "b", 255 - pixels))
    rows = {row.metric: row for row in score(*pairs).measurements}
    assert rows["mae"].value == pytest.approx(np.abs(255 - 2 * pixels.astype(float)).mean() / 255, rel=1e-6)
    assert "bits-per-pixel" not in rows
