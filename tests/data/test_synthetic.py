from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.data import facepaint, synthetic
from avq.data.synthetic import Faces, Version, draw_faces
from avq.errors import UsageError

COUNT = 3000
VERSIONS: tuple[Version, ...] = ("coupled", "independent")
GOLDEN = ["0d71c0324b6b00b7", "e81617eaf4d91bc0"]


@pytest.fixture(scope="module")
def faces() -> dict[Version, Faces]:
    return {"coupled": draw_faces(0, COUNT), "independent": draw_faces(0, COUNT, version="independent")}


@given(st.integers(0, 400), st.integers(1, 30), st.integers(0, 29), st.sampled_from(VERSIONS))
@settings(max_examples=25)
def test_a_picture_depends_on_its_index_alone(start: int, count: int, offset: int, version: Version) -> None:
    many = draw_faces(start, start + count, 16, version)
    index = start + offset % count
    one = draw_faces(index, index + 1, 16, version)
    assert np.array_equal(one.images[0], many.images[index - start])
    assert np.array_equal(one.second_eye[0], many.second_eye[index - start])


@given(st.integers(16, 70))
@settings(max_examples=15)
def test_any_size_gives_pictures_with_a_second_eye(size: int) -> None:
    drawn = draw_faces(0, 40, size)
    assert drawn.images.shape == (40, size, size, 3)
    assert drawn.images.dtype == np.uint8
    assert drawn.second_eye.any(axis=(1, 2)).all()
    assert not drawn.second_eye[:, :, : size // 2].any()
    assert drawn.images.std() > 30


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16"):
        draw_faces(0, 1, 15)


def test_pictures_are_the_same_on_every_machine() -> None:
    """Golden: a change here is a new dataset and needs a new `GENERATOR`."""
    drawn = draw_faces(0, 32, 32), draw_faces(0, 32, 32, "independent", "test")
    digests = [hashlib.sha256(part.images.tobytes()).hexdigest()[:16] for part in drawn]
    assert (synthetic.GENERATOR, digests) == ("synthetic-faces/1", GOLDEN)


def test_splits_share_no_picture() -> None:
    drawn = [draw_faces(0, 300, 16, split=split).images for split in ("train", "validation", "test")]
    assert len({image.tobytes() for part in drawn for image in part}) == 900


def test_eyes_have_the_same_marginals_and_different_mutual_information(faces: dict[Version, Faces]) -> None:
    colours = len(facepaint.IRIS)
    for version, drawn in faces.items():
        for eye in range(2):
            counts = np.bincount(drawn.eyes[:, eye], minlength=colours)
            expected = COUNT / colours
            chi_square = ((counts - expected) ** 2 / expected).sum()
            assert chi_square < 20.5  # 0.1 % quantile at 5 degrees of freedom
        joint = np.histogram2d(*drawn.eyes.T, bins=colours)[0] / COUNT
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        filled = joint > 0
        information = (joint[filled] * np.log2(joint[filled] / product[filled])).sum()
        if version == "coupled":
            assert information == pytest.approx(np.log2(colours), abs=0.01)
        else:
            assert information < 0.02


def test_pixels_show_the_iris_that_was_drawn() -> None:
    for version in VERSIONS:
        drawn = draw_faces(0, 100, 64, version)
        for eye, mask in ((1, drawn.second_eye), (0, _first_eye(drawn))):
            for image, where, colour in zip(drawn.images, mask, drawn.eyes[:, eye], strict=True):
                distance = np.abs(image[where][:, None] / 255 - facepaint.IRIS[None]).sum(2)
                assert np.bincount(distance.argmin(1)[distance.min(1) < 0.05], minlength=6).argmax() == colour


def _first_eye(drawn: Faces) -> np.ndarray:
    """Where the left iris is: pixels there take the exact colour of the palette."""
    exact = np.abs(drawn.images[:, :, :, None] / 255 - facepaint.IRIS).sum(-1).min(-1) < 0.02
    exact[:, :, exact.shape[2] // 2 :] = False
    exact[:, : exact.shape[1] // 3] = False
    exact[:, 2 * exact.shape[1] // 3 :] = False
    return exact & (np.abs(np.arange(64) - 32) < 14)


def test_local_statistics_agree_between_the_versions(faces: dict[Version, Faces]) -> None:
    """Colours, and differences of neighbours, have the same distribution in every block of the picture."""
    coupled, independent = (faces[v].images.astype(np.float64) / 255 for v in ("coupled", "independent"))
    for statistic in (lambda i: i, lambda i: np.abs(np.diff(i, axis=2, append=i[:, :, -1:])),
                      lambda i: np.abs(np.diff(i, axis=1, append=i[:, -1:]))):  # fmt: skip
        a, b = _blocks(statistic(coupled)), _blocks(statistic(independent))
        error = np.sqrt(a.var(0) / COUNT + b.var(0) / COUNT) + 1e-9
        z = np.abs(a.mean(0) - b.mean(0)) / error
        assert z.max() < 4.5
    left = slice(0, 15)
    assert np.array_equal(coupled[:, :, left], independent[:, :, left])


def _blocks(values: np.ndarray) -> np.ndarray:
    """Means over blocks of 4x4 pixels: ``[N, 8 * 8 * C]``."""
    count, _, _, channels = values.shape
    return values.reshape(count, 8, 4, 8, 4, channels).mean((2, 4)).reshape(count, -1)


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_no_window_of_an_eighth_sees_two_coupled_parts(size: int) -> None:
    """Pixels that the first eye (or panel) changes lie at least size / 8 columns from those of the second."""
    look = synthetic.draw_look(synthetic._uniforms("train", 0, 128), "independent")
    image, mask = facepaint.paint(look, size)
    other = (look.first_iris + 1) % 6, (look.second_iris + 1) % 6
    flipped = [replace(p, palette=(p.palette + 1) % 8) for p in (look.left, look.right)]
    for first, second in (
        (replace(look, first_iris=other[0]), replace(look, second_iris=other[1])),
        (replace(look, left=flipped[0]), replace(look, right=flipped[1])),
    ):
        a, b = ((facepaint.paint(changed, size)[0] != image).any((1, 3)) for changed in (first, second))
        last = size - 1 - a[:, ::-1].argmax(1)
        nearest = b.argmax(1)
        assert (nearest - last >= size // 8).all()
    seen = (facepaint.paint(replace(look, second_iris=other[1]), size)[0] != image).any(3)
    assert (seen | ~mask).mean() > 0.999  # the mask is where the second iris shows (its pupil apart)


@pytest.mark.parametrize("size", [32, 300])
def test_windows_cut_nothing_off(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    look = synthetic.draw_look(synthetic._uniforms("test", 0, 24), "independent")
    image, mask = facepaint.paint(look, size)
    monkeypatch.setattr(facepaint._Easel, "window", lambda *_: (slice(0, size), slice(0, size)))
    whole_image, whole_mask = facepaint.paint(look, size)
    assert np.array_equal(image, whole_image)
    assert np.array_equal(mask, whole_mask)


def test_coupled_background_is_a_mirror_image(faces: dict[Version, Faces]) -> None:
    top = {version: drawn.images[:, :3].astype(int) for version, drawn in faces.items()}
    gap = {version: np.abs(rows - rows[:, :, ::-1]).mean() for version, rows in top.items()}
    assert gap["coupled"] < 1.0  # a little hair of heads that stand off the middle
    assert gap["independent"] > 20


def test_drawing_is_fast() -> None:
    start = time.process_time()
    draw_faces(0, 1500)
    assert time.process_time() - start < 0.75  # 3 s for 6,000
