"""``avq-bench data sheet``."""

from __future__ import annotations

import math
from pathlib import Path

import click

from avq.cli import options


@click.command()
@click.argument("name")
@options.written("The picture to write, such as sheet.png.")
@click.option("--size", type=int, help="Height and width of the images.  [default: the dataset's own default]")
@click.option("--images", type=click.IntRange(min=1), default=64, show_default=True, help="How many.")
@options.split
@options.cards
@options.data_root
def sheet(name: str, output: Path, size: int | None, images: int, split: str, data_root: Path | None) -> None:
    """Draw a contact sheet of dataset NAME, as runs see it: cropped, resized, in the fixed order of the split.

    \b
    Examples:
      avq-bench data sheet synthetic-faces -o faces.png
      avq-bench data sheet cifar10 --data-root ../shared/data --split train -o things.png
    """
    from torchvision.transforms.functional import to_pil_image
    from torchvision.utils import make_grid

    from avq.cli import pictures
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset

    pictures.check_picture(output)
    dataset = load_dataset(DataConfig(name, size), data_root)
    pixels = getattr(dataset, split).images[:images]
    zoom = max(1, 64 // dataset.image_size)
    shown = pixels.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2).permute(0, 3, 1, 2)
    grid = make_grid(shown, nrow=math.ceil(math.sqrt(len(pixels))), padding=2, pad_value=255)
    pictures.save_picture(to_pil_image(grid), output)
    click.echo(f"{output}: {len(pixels)} images of {name}, {split}, {dataset.image_size}x{dataset.image_size}")
