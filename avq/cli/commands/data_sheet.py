"""``avq-bench data sheet``."""

from __future__ import annotations

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
    from avq.cli import pictures
    from avq.data.config import DataConfig
    from avq.data.sheet import contact_sheet
    from avq.data.sources import load_dataset

    pictures.check_picture(output)
    dataset = load_dataset(DataConfig(name, size), data_root)
    pixels = getattr(dataset, split).images[:images]
    picture = contact_sheet(pixels, zoom=max(1, 64 // dataset.image_size))
    pictures.save_picture(picture, output)
    click.echo(f"{output}: {len(pixels)} images of {name}, {split}, {dataset.image_size}x{dataset.image_size}")
