"""The picture that `run` leaves: a few test images, and below them what each row makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.experiments.store import read_json

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
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import sample_reconstructions
    from avq.reporting.figures import reconstruction_grid
    from avq.training.checkpoint import load_model

    pictures = []
    groups = _by_data(_first_runs(long, store))
    for data, runs in groups.items():
        config = replace(
            DataConfig(**json.loads(data)), train_images=_IMAGES, validation_images=_IMAGES, test_images=_IMAGES
        )
        dataset = load_dataset(config, data_root)
        samples = {
            row: sample_reconstructions(load_model(run / "checkpoint.safetensors"), dataset, _IMAGES)
            for row, run in runs.items()
        }
        original = next(iter(samples.values()))[0].numpy()
        name = "reconstructions" + (f"-{dataset.name}-{dataset.image_size}px" if len(groups) > 1 else "") + ".png"
        grid = {row: images.numpy() for row, (_, images) in samples.items()}
        pictures.append(reconstruction_grid(original, grid, folder / name, _notes(long)))
    return pictures


def _first_runs(long: pd.DataFrame, store: Path) -> dict[str, Path]:
    """The folder of each row's run of the lowest seed that has a checkpoint."""
    found: dict[str, Path] = {}
    trained = long[long["seed"].notna()].sort_values("seed", kind="stable")
    for row in long["row"].unique():
        for run in trained.loc[trained["row"] == row, "run"].unique():
            folder = store / "runs" / str(run)
            if (folder / "checkpoint.safetensors").is_file():
                found[str(row)] = folder
                break
    return found


def _by_data(runs: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """The runs that share their images, by their data settings as JSON."""
    groups: dict[str, dict[str, Path]] = {}
    for row, folder in runs.items():
        data: dict[str, Any] = read_json(folder / "config.json").get("data", {})
        groups.setdefault(json.dumps(data, sort_keys=True), {})[row] = folder
    return groups


def _notes(long: pd.DataFrame) -> dict[str, str]:
    mae = long[(long["metric"] == "mae") & (long["split"] == "test") & (long["status"] == "ok")]
    return {str(row): f"MAE {value:.4f}" for row, value in mae.groupby("row")["value"].mean().items()}
