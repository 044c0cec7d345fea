"""``avq-bench sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.errors import AvqError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@click.command()
@click.option("--checkpoint", type=options.FILE_OR_FOLDER, required=True, help="Trained prior, or its folder.")
@click.option(
    "--tokenizer",
    type=options.FILE,
    help="The prior's tokenizer (.safetensors).  [default: where the prior's file says it is]",
)
@click.option("-n", "count", type=options.POSITIVE, default=64, help="How many images.")
@options.written("Picture to write.", "samples.png")
@click.option("--save", "folder", type=options.FOLDER, help="Write every image as PNG, and codes.npz, to a new folder.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Divides the logits.")
@click.option("--top-k", type=options.POSITIVE, help="Draw from the K most probable codes only.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Draw from the most probable codes that together reach P only.",
)
@click.option("--class", "label", type=click.IntRange(min=0), help="Class, for a prior of classes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the random numbers.")
@options.device
@options.plugin
def command(
    checkpoint: Path,
    tokenizer: Path | None,
    count: int,
    output: Path,
    folder: Path | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    label: int | None,
    seed: int,
    device: str,
) -> None:
    """Draw images from a prior over a tokenizer's codes.

    \b
    Examples:
      avq-bench sample --checkpoint avq-runs/runs/PRIOR
      avq-bench sample --checkpoint prior.safetensors -n 16 --temperature 0.9 --top-k 100 -o few.png --save samples
    """
    import math

    import torch

    from avq.cli import pictures
    from avq.priors.sample import Drawing, decode, sample
    from avq.priors.saved import load_prior, load_tokenizer
    from avq.training.precision import resolve_device

    pictures.check_picture(output)
    if folder is not None and folder.exists():
        raise UsageError(f"{folder} exists already; name a new folder with --save.")
    place = resolve_device(device)
    prior, about = load_prior(checkpoint)
    model = load_tokenizer(about, prior, checkpoint, tokenizer).to(place)
    if (label is not None) != bool(prior.classes) or (label or 0) >= max(1, prior.classes):
        known = f"classes 0 to {prior.classes - 1}: name one" if prior.classes else "no classes: leave it out"
        raise UsageError(f"--class: this prior has {known}.")
    labels = None if label is None else torch.full((count,), label)
    drawn = sample(prior, count, seed, drawing=Drawing(temperature, top_k, top_p), labels=labels, device=place)
    images = decode(model, prior.layout, drawn, place).numpy()
    columns = math.ceil(count**0.5)
    rows = [list(images[start : start + columns]) for start in range(0, count, columns)]
    pictures.save_picture(pictures.side_by_side(rows), output)
    click.echo(f"wrote {output}")
    if folder is not None:
        _save(images, prior.layout.unflatten(drawn), folder)
        click.echo(f"wrote {count} images and codes.npz to {folder}")


def _save(images: NDArray[np.uint8], codes: list[Tensor], folder: Path) -> None:
    import numpy as np
    from PIL import Image

    try:
        folder.mkdir(parents=True)
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{number:06}.png")
        levels = {f"level-{level}": one.numpy() for level, one in enumerate(codes, 1)}
        np.savez_compressed(folder / "codes.npz", **levels)  # type: ignore[arg-type]
    except OSError as error:
        raise AvqError(f"cannot write to {folder}: {error.strerror or error}") from None
