"""``avq-bench evaluate``."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.output import Row, print_rows

if TYPE_CHECKING:
    from avq.data.config import DataConfig
    from avq.metrics.measurement import Measurement


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, dir_okay=False))
@options.split
@options.stacked(options.dataset, options.data_root, options.settings, options.device, options.plugin)
@options.stacked(options.allow_small, options.weights_dir)
@options.table_format
def command(
    checkpoint: Path,
    split: str,
    dataset: str | None,
    data_root: Path | None,
    settings: dict[str, Any],
    device: str,
    plugins: tuple[str, ...],
    allow_small: bool,
    style: str,
) -> None:
    """Measure CHECKPOINT, a trained tokenizer (.safetensors), on the images of a dataset.

    A checkpoint in a store is measured on its own run's data unless --dataset names other images. Standard
    errors are over images: they describe this checkpoint, and say nothing about training it again.

    \b
    Examples:
      avq-bench evaluate avq-runs/runs/RUN/checkpoint.safetensors
      avq-bench evaluate model.safetensors --dataset cifar10 --data-root ../shared/data --set test_images=1000
    """
    from avq import load_model
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import evaluate
    from avq.training.checkpoint import checkpoint_info
    from avq.training.precision import resolve_device

    place = resolve_device(device)
    model = load_model(checkpoint).to(place)
    config = _data_config(checkpoint, checkpoint_info(checkpoint)["image_size"], dataset, settings)
    measurements, _ = evaluate(model, load_dataset(config, data_root), split, device=place, allow_small=allow_small)
    about = {"checkpoint": str(checkpoint), "dataset": config.dataset, "split": split}
    if style == "table":
        print_rows([_line(measurement) for measurement in measurements], style)
    else:
        print_rows([about | asdict(measurement) for measurement in measurements], style)


def _line(row: Measurement) -> Row:
    from avq.metrics.catalogue import format_value

    return {
        "metric": row.metric,
        "level": row.level,
        "value": format_value(row.metric, row.value),
        "unit": row.unit,
        "stderr": row.stderr,
        "n": row.n,
        "note": row.reason,
    }


def _data_config(checkpoint: Path, image_size: int, dataset: str | None, settings: dict[str, Any]) -> DataConfig:
    """The data to measure on: those of the run that made the checkpoint, unless others are named."""
    from avq.data.config import DATA_SETTINGS, DataConfig
    from avq.errors import UsageError
    from avq.experiments.store import read_json

    for name in settings:
        if name not in DATA_SETTINGS:
            raise UsageError(f"--set {name}: a trained model is measured as it is; only data settings can be chosen")
    own: dict[str, Any] = read_json(checkpoint.parent / "config.json").get("data", {})
    chosen = dataset or settings.get("dataset") or own.get("dataset")
    if chosen is None:
        raise UsageError(f"{checkpoint} does not say on which images it was trained; name some with --dataset")
    kept = own if chosen == own.get("dataset") else {}
    known = {field.name for field in fields(DataConfig)}
    values = {name: value for name, value in kept.items() if name in known}
    return DataConfig(**values | settings | {"dataset": chosen, "image_size": image_size})
