"""The picture that `run` leaves: a few test images, and below them what each row makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_IMAGES = 8


def draw_reconstructions(long: pd.DataFrame, store: Path, folder: Path, data_root: Path | None) -> list[Path]:
    """Draw the reconstructions of an experiment from its kept checkpoints, one picture a set of test images.

    Args:
        long: the experiment's long-form table.
        store: where its runs lie.
        folder: where the pictures go.
        data_root: as for `avq.run`.

    Returns:
        The pictures, ``reconstructions.png`` or, for several sets, ``reconstructions-<dataset>-<size>px.png``.

    Raises:
        AvqError: a checkpoint or the images cannot be read.
    """
    from avq.reporting.figures import reconstruction_grid
    from avq.reporting.samples import mean_errors, samples

    sets = list(samples(long, store, data_root, _IMAGES))
    pictures = []
    for one in sets:
        name = "reconstructions" + (f"-{one.dataset}-{one.image_size}px" if len(sets) > 1 else "") + ".png"
        pictures.append(reconstruction_grid(one.original, one.rows, folder / name, mean_errors(long)))
    return pictures
