"""Reconstructions of the first test images by stored checkpoints."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.store.read_run import run_at


@dataclass(frozen=True)
class Samples:
    """Test images and their reconstructions by every row that has a checkpoint; all uint8 `[N, H, W, 3]`."""

    dataset: str
    image_size: int
    original: NDArray[np.uint8]
    rows: dict[str, NDArray[np.uint8]]


def samples(
    long: pd.DataFrame,
    store: Path,
    data_root: Path | None,
    count: int,
    wanted: Callable[[str], bool] = lambda dataset: True,
) -> Iterator[Samples]:
    """Reconstruct the first test images by each row's run of the lowest seed, one set of images after the other.

    Args:
        long: the experiment's long-form table.
        store: where its runs lie.
        data_root: as for `avq.run`.
        count: how many images.
        wanted: which datasets may be shown, by name.

    Raises:
        AvqError: a checkpoint or the images cannot be read.
    """
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import sample_reconstructions
    from avq.training.checkpoint import load_model

    by_data: dict[str, dict[str, Path]] = defaultdict(dict)  # runs that share their images
    for row, folder in first_runs(long, store).items():
        described = run_at(folder)
        settings = dict(described.data) if described is not None else {}
        by_data[json.dumps(settings, sort_keys=True)][row] = folder
    for key, runs in by_data.items():
        config = DataConfig(**json.loads(key))
        if not wanted(config.dataset):
            continue
        few = replace(config, train_images=count, validation_images=count, test_images=count)
        dataset = load_dataset(few, data_root)
        made = {
            row: sample_reconstructions(load_model(run / "checkpoint.safetensors"), dataset, count)
            for row, run in runs.items()
        }
        rows = {row: images.numpy() for row, (_, images) in made.items()}
        yield Samples(dataset.name, dataset.image_size, dataset.test.images[:count].numpy(), rows)


def first_runs(long: pd.DataFrame, store: Path) -> dict[str, Path]:
    """The folder of each row's run of the lowest seed that has a checkpoint."""
    found: dict[str, Path] = {}
    trained = long[long["seed"].notna()].sort_values("seed", kind="stable")
    for row in long["row"].unique():
        folders = (store / "runs" / str(run) for run in trained.loc[trained["row"] == row, "run"].unique())
        folder = next((folder for folder in folders if (folder / "checkpoint.safetensors").is_file()), None)
        if folder is not None:
            found[str(row)] = folder
    return found


def mean_errors(long: pd.DataFrame, split: str = "test") -> dict[str, str]:
    """By row, its mean over seeds as a note: `MAE 0.0466`."""
    mae = long[(long["metric"] == "mae") & (long["split"] == split) & (long["status"] == "ok")]
    means = mae.groupby("row")["value"].mean()
    return {str(row): f"{METRICS['mae'].label} {format_value('mae', value)}" for row, value in means.items()}
