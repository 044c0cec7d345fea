"""Figures are written, at the right size, without touching global state, and refuse what they cannot show."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from avq.errors import AvqError, NotComparable
from avq.reporting.figures import reconstruction_grid, validation_curves, values_by_row


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_grid_shows_every_image_unchanged(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 5, 1, 1, 3), dtype=np.uint8)
    original, rebuilt = (np.broadcast_to(colours[i], (5, 32, 32, 3)) for i in range(2))
    path = reconstruction_grid(original, {"aren-1[num_codes=64]": rebuilt}, tmp_path / "g.png", {"aren-1": "MAE"})
    shown = {tuple(int(c) for c in colour) for colour in np.unique(pixels(path).reshape(-1, 3), axis=0)}
    assert {tuple(int(c) for c in colour) for colour in colours.reshape(-1, 3)} <= shown


def test_the_grid_refuses_rows_of_another_shape(tmp_path: Path) -> None:
    with pytest.raises(AvqError, match="'odd' is uint8"):
        reconstruction_grid(np.zeros((2, 8, 8, 3), np.uint8), {"odd": np.zeros((2, 4, 4, 3), np.uint8)}, tmp_path / "g")


def test_curves_are_drawn_for_many_rows_and_one_seed(tmp_path: Path) -> None:
    steps = range(0, 500, 50)
    log = pd.DataFrame(
        [
            {"row": f"row-{row}", "seed": 0, "step": step, "validation-mae": 0.05 + row / 100 + 0.2 / (1 + step)}
            for row in range(12)
            for step in steps
        ]
    )
    log.loc[3, "validation-mae"] = None
    before = dict(mpl.rcParams)
    assert pixels(validation_curves(log, tmp_path / "c.png")).std() > 1
    assert dict(mpl.rcParams) == before


def test_a_single_point_is_a_curve_too(tmp_path: Path) -> None:
    log = pd.DataFrame([{"row": "a", "seed": 0, "step": 50, "validation-mae": 0.1}])
    validation_curves(log, tmp_path / "c.png")


def test_values_by_row_are_drawn(story: pd.DataFrame, tmp_path: Path) -> None:
    assert pixels(values_by_row(story, tmp_path / "v.png")).std() > 1
    values_by_row(story[story["seed"] == 0], tmp_path / "one-seed.png")


def test_values_of_two_protocols_or_datasets_are_not_drawn(story: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(AvqError, match="one dataset, got 0"):
        values_by_row(story, tmp_path / "v.png", split="train")
    story.loc[story["row"] == "aren-2", "protocol"] = "other"
    with pytest.raises(NotComparable, match="two protocols"):
        values_by_row(story, tmp_path / "v.png")
