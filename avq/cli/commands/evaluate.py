"""``avq-bench evaluate``."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.measured import echo_notes, labels, measuring, report
from avq.errors import UsageError

if TYPE_CHECKING:
    from avq.data.config import DataConfig
    from avq.design.run import Run
    from avq.models.tokenizer import Tokenizer


@click.command()
@click.argument("model")
@click.option(
    "--round", "rounded", is_flag=True, help="Round reconstructions to 8 bits, as PNGs do, and mark the rows."
)
@click.option(
    "--images",
    "folder",
    type=options.FOLDER,
    metavar="DIR",
    help="Write originals and reconstructions as PNG, and codes, to a new folder; implies --round.",
)
@options.split
@options.stacked(options.dataset, options.cards, options.data_root, options.settings, labels, options.device)
@options.stacked(options.plugin, options.allow_small, options.evaluation_precision, options.weights_dir)
@options.table_format
def command(
    model: str,
    rounded: bool,
    folder: Path | None,
    split: str,
    dataset: str | None,
    data_root: Path | None,
    settings: dict[str, Any],
    name: str | None,
    seed: int | None,
    output: Path | None,
    device: str,
    allow_small: bool,
    evaluation_precision: str,
    style: str,
) -> None:
    """Measure MODEL, a trained tokenizer, on the images of a dataset.

    MODEL is a checkpoint (.safetensors), or package.module:factory, any Python object with encode and decode (or a
    callable that returns one): float images [B, 3, H, W] in its image_range, (-1, 1) unless it says (0, 1); codes as an
    integer tensor or a list of them; codebook_size if it has codebooks. diffusers.VQModel and AutoencoderKL and
    pythae's VQVAE need nothing more.

    A checkpoint in a store is measured on its own run's data unless --dataset names other images. Standard
    errors are over images: they describe this checkpoint, and say nothing about training it again.

    \b
    Examples:
      avq-bench evaluate avq-runs/runs/RUN/checkpoint.safetensors
      avq-bench evaluate model.safetensors --dataset cifar10 --data-root ../shared/data --set test_images=1000
      avq-bench evaluate my_models:vqgan --dataset cifar10 --set image_size=32 --name vqgan --output results.csv
    """
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import evaluate
    from avq.external.adapters import Adapted
    from avq.external.eight_bit import eight_bit, eight_bit_rows, export_pairs
    from avq.external.sanity import check_model
    from avq.external.score import explain_rate
    from avq.machine import machine_name
    from avq.store.outside import Label, check_target
    from avq.training.precision import resolve_device

    place = resolve_device(device)
    tokenizer, variant, image_size, run = _open(model)
    data = dict(run.data) if run is not None else {}
    config = _data_config(model, data, image_size, dataset, settings)
    trained_with, code = (run.seed, run.code) if run is not None else (0, "")
    number = trained_with if seed is None else seed
    label = Label(name or variant, variant, config.dataset, split, number, machine_name(place), code)
    if output is not None:
        check_target(output, label)
    images = load_dataset(config, data_root)
    tokenizer = tokenizer.to(place)
    if folder is not None:
        export_pairs(tokenizer, getattr(images, split), folder, place)
    rounds = rounded or folder is not None
    # What others wrote may not bear autocast.
    precision = "float32" if evaluation_precision == "auto" and isinstance(tokenizer, Adapted) else evaluation_precision
    with measuring(len(getattr(images, split))) as count, eight_bit(tokenizer) if rounds else nullcontext():
        rows, _ = evaluate(
            tokenizer, images, split, device=place, allow_small=allow_small, precision=precision, on_images=count
        )
    rate = next(row.value for row in rows if row.metric == "bits-per-pixel")
    echo_notes(check_model(tokenizer, getattr(images, split).images, place, rate))
    if isinstance(tokenizer, Adapted) and not tokenizer.codebook_sizes:
        rows = explain_rate(rows, "the model has no codes, or does not say how large its codebooks are (codebook_size)")
    report(eight_bit_rows(rows) if rounds else rows, label, style, output)
    if folder is not None:
        click.echo(f"\nwrote {folder}; to measure it again: {_score_command(folder, tokenizer)}", err=style != "table")


def _open(model: str) -> tuple[Tokenizer, str, int | None, Run | None]:
    """What to measure, its variant and image size, and the run that trained it, if its folder is a run's."""
    from avq import load_model
    from avq.external.adapters import is_address, load_object
    from avq.store.read_run import run_at
    from avq.training.checkpoint import checkpoint_info

    path = Path(model)
    if is_address(model) and not path.exists():
        return load_object(model), model, None, None
    tokenizer, about = load_model(path), checkpoint_info(path)
    return tokenizer, about["variant"], about["image_size"], run_at(path.parent)


def _data_config(
    model: str, data: dict[str, Any], image_size: int | None, dataset: str | None, settings: dict[str, Any]
) -> DataConfig:
    """The data to measure on: those of the run that trained the checkpoint, unless others are named."""
    from avq.data.config import DATA_SETTINGS, DataConfig

    for name in settings:
        if name not in DATA_SETTINGS:
            raise UsageError(f"--set {name}: a trained model is measured as it is; only data settings can be set")
    chosen = dataset or settings.get("dataset") or data.get("dataset")
    if chosen is None:
        raise UsageError(f"{model} does not say on which images it was trained; name some with --dataset")
    trained_on = data if chosen == data.get("dataset") else {}
    values = {field.name: trained_on[field.name] for field in fields(DataConfig) if field.name in trained_on}
    size = {"image_size": image_size} if image_size else {}
    return DataConfig(**values | settings | size | {"dataset": chosen})


def _score_command(folder: Path, tokenizer: Tokenizer) -> str:
    words = ["avq-bench", "score", str(folder / "originals"), str(folder / "reconstructions")]
    if tokenizer.codebook_sizes:
        both = (tokenizer.codebook_sizes, tokenizer.decoder_levels)
        sizes, levels = (",".join(map(str, numbers)) for numbers in both)
        words += ["--codes", str(folder / "codes.npz"), "--codebook-size", sizes, "--decoder-levels", levels]
    return shlex.join(words)
