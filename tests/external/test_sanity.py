"""Mistakes that leave the numbers plausible are noted, for files and models alike; bad models are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.external.adapters import adapt
from avq.external.sanity import SanityChecks, check_model
from avq.external.score import open_pairs, score
from avq.models import create_variant

Change = Callable[[Tensor], Tensor]
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def coarse(x: Tensor, levels: int = 8) -> Tensor:
    """An honest reconstruction of images in [0, 1]."""
    return (x * levels).floor().clamp(max=levels - 1).add(0.5) / levels


def blurred(x: Tensor, side: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, side).repeat_interleave(side, 2).repeat_interleave(side, 3)


MISTAKES: dict[str, tuple[Change, str]] = {
    "cut": (lambda x: (2 * coarse(x) - 1).clamp(0, 1), "reconstructions look as if values in [-1, 1] were cut"),
    "halved": (lambda x: (coarse(x) + 1) / 2, "reconstructions look as if values in [0, 1] were read as [-1, 1]"),
    "imagenet": (lambda x: ((coarse(x) - MEAN) / STD).clamp(0, 1), "reconstructions look as if ImageNet's mean"),
    "inverted": (lambda x: 1 - coarse(x), "reconstructions look as if light and dark"),
    "turned": (lambda x: coarse(x).rot90(3, (2, 3)), "24 of 24 reconstructions are far nearer"),
    "mirrored": (lambda x: coarse(x).flip(3), "when mirrored"),
    "one turned": (lambda x: torch.cat([coarse(x[:1]).rot90(2, (2, 3)), coarse(x[1:])]), "1 of 24 reconstructions"),
    "another order": (lambda x: coarse(x).roll(1, 0), "order"),
    "swapped channels": (lambda x: coarse(x).flip(1), "BGR"),
    "copies": (lambda x: x, "equals its original"),
    "cast to bytes": (lambda x: (x > 0.98) / 255, "one colour, like floats"),
}
HONEST: dict[str, Change] = {
    "good": coarse,
    "two levels": lambda x: torch.where(x > x.mean((2, 3), keepdim=True), x.amax((2, 3), True), x.amin((2, 3), True)),
    "blurred": lambda x: blurred(x, 2),
    "very blurred": lambda x: blurred(x, 8),
    "a mean each": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "of little contrast": lambda x: 0.5 + 0.3 * (coarse(x) - 0.5),
    "too bright": lambda x: (coarse(x) + 0.15).clamp(0, 1),
    "too dark": lambda x: (coarse(x) - 0.15).clamp(0, 1),
    "noisy": lambda x: (x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * 0.3).clamp(0, 1),
    "grey": lambda x: coarse(x).mean(1, keepdim=True).expand_as(x),
}
SETS: dict[str, Change] = {"": lambda x: x, "dark": lambda x: x / 4, "bright": lambda x: 0.75 + x / 4}
MEANINGLESS: dict[str, Change] = {
    "black": torch.zeros_like,
    "white": torch.ones_like,
    "noise": lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(0)),
}


@pytest.fixture(scope="module")
def images(faces: Dataset) -> Tensor:
    return faces.test.images.permute(0, 3, 1, 2) / 255


def notes(original: Tensor, reconstruction: Tensor, batch: int = 7, rate: float | None = None) -> list[str]:
    checks = SanityChecks()
    for x, y in zip(original.split(batch), reconstruction.split(batch), strict=True):
        checks.add(x * 2 - 1, y * 2 - 1)
    return checks.notes(rate)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_note(mistake: str, images: Tensor) -> None:
    change, said = MISTAKES[mistake]
    found = [note for note in notes(images, change(images)) if "their order" not in note or "order" in said]
    assert len(found) == 1
    assert said in found[0]


def test_the_originals_may_be_misread_too(images: Tensor) -> None:
    assert notes((images + 1) / 2, coarse(images))[0].startswith("originals look as if values in [0, 1]")


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("model", [*HONEST, *MEANINGLESS])
def test_a_bad_model_is_no_mistake(model: str, kind: str, images: Tensor) -> None:
    images = SETS[kind](images)
    found = notes(images, (HONEST | MEANINGLESS)[model](images))
    if model in MEANINGLESS:
        found = [note for note in found if "their order" not in note and "of one colour" not in note]
    assert not found


def test_more_than_the_codes_can_say_is_noted(images: Tensor) -> None:
    near = images + 0.002
    assert not notes(images, near)
    assert not notes(images, near, rate=12.0)
    assert "does the decoder see more than the codes" in notes(images, near, rate=0.5)[0]


def test_nothing_is_said_of_nothing() -> None:
    assert not notes(torch.zeros(0, 3, 8, 8), torch.zeros(0, 3, 8, 8))


def save(folder: Path, pictures: np.ndarray) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("form", ["folders", "arrays"])
def test_folders_and_arrays_are_checked_alike(form: str, faces: Dataset, tmp_path: Path) -> None:
    pixels = faces.test.images.numpy()
    wrong = np.clip((pixels / 127.5 - 1) * 255, 0, 255).astype(np.uint8)
    if form == "arrays":
        paths = tmp_path / "x.npy", tmp_path / "y.npy"
        for path, array in zip(paths, (pixels, wrong), strict=True):
            np.save(path, array)
    else:
        paths = save(tmp_path / "x", pixels), save(tmp_path / "y", wrong)
    (note,) = score(*open_pairs(*paths)).notes
    assert "were cut to [0, 1]" in note


def test_a_jpeg_whose_orientation_the_model_did_not_see(faces: Dataset, tmp_path: Path) -> None:
    pixels, tag = faces.test.images.numpy(), Image.Exif()
    tag[0x0112] = 6
    (tmp_path / "x").mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "x" / f"{number:02}.jpg", quality=95, exif=tag)
    found = score(*open_pairs(tmp_path / "x", save(tmp_path / "y", pixels // 8 * 8 + 4))).notes
    assert any("24 of 24" in note and "turned by 270 degrees" in note and "EXIF" in note for note in found)


class Smuggler:
    """Sixteen greys, and a decoder that knows the image."""

    codebook_size = 16

    def encode(self, images: Tensor) -> Any:
        self.seen = images
        return ((images.mean(1)[:, ::4, ::4] + 1) * 8).clamp(0, 15).long()

    def decode(self, codes: Tensor) -> Tensor:
        return self.seen


class Tagged(Smuggler):
    """The image travels with its codes."""

    def encode(self, images: Tensor) -> Any:
        codes = super().encode(images)
        codes.image = images
        return codes

    def decode(self, codes: Any) -> Tensor:
        return codes.image


def test_a_decoder_that_sees_the_image_is_noted(faces: Dataset) -> None:
    for count in (24, 1):
        found = check_model(adapt(Smuggler()), faces.test.images[:count], "cpu", 0.5)
        assert len(found) == 2
        assert "equals its original" in found[0]
        assert "its codes alone decode to other images" in found[1]


def test_codes_carry_nothing_but_integers(faces: Dataset) -> None:
    with pytest.raises(Exception, match="no attribute 'image'"):
        adapt(Tagged())(to_model(faces.test.images))


@pytest.mark.parametrize("name", ["aren-2-rpa-mean", "vqvae2"])
def test_our_own_models_are_not_suspected(name: str, faces: Dataset) -> None:
    model = create_variant(name, 16, width=8, codebook_size=16).eval()
    model.initialise_codebooks(to_model(faces.train.images))
    assert not [note for note in check_model(model, faces.test.images, "cpu", 0.5) if "order" not in note]
