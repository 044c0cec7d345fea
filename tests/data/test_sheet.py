from __future__ import annotations

import numpy as np
import pytest
import torch

from avq.data.sheet import contact_sheet


def test_images_stand_in_rows() -> None:
    images = torch.zeros(5, 8, 6, 3, dtype=torch.uint8)
    images[3] = 90
    sheet = contact_sheet(images, columns=3, zoom=2)
    assert sheet.size == (3 * 14 + 2, 2 * 18 + 2)
    pixels = np.asarray(sheet)
    assert (pixels[20:36, 2:14] == 90).all()
    assert (pixels[:2] == 255).all()


def test_labels_take_room_below() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    plain, labelled = contact_sheet(images), contact_sheet(images, labels=["a", "b", "c", "original"])
    assert labelled.height > plain.height
    assert labelled.width == plain.width


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32), np.zeros((0, 8, 8, 3), np.uint8)],
)
def test_other_arrays_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a sheet needs"):
        contact_sheet(images)


def test_labels_must_match() -> None:
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        contact_sheet(np.zeros((2, 8, 8, 3), np.uint8), labels=["a"])
