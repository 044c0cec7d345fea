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
@options.data_root
def sheet(name: str, output: Path, size: int | None, images: int, split: str, data_root: Path | None) -> None:
    """Draw a contact sheet of dataset NAME, as runs see it: cropped, resized, in the fixed order of the split.

    \b
    Examples:
      avq-bench data sheet synthetic-faces -o faces.png
      avq-bench data sheet cifar10 --data-root ../shared/data --split train -o things.png
    """
    from avq.data.config import DataConfig
    from avq.data.sheet import contact_sheet
    from avq.data.sources import load_dataset
    from avq.errors import UsageError

    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent} for the picture")
    dataset = load_dataset(DataConfig(name, size), data_root)
    pixels = getattr(dataset, split).images[:images]
    picture = contact_sheet(pixels, zoom=max(1, 64 // dataset.image_size))
    try:
        picture.save(output)
    except ValueError as error:
        raise UsageError(f"cannot write {output} ({error}): give it the ending .png or .jpg") from error
    click.echo(f"{output}: {len(pixels)} images of {name}, {split}, {dataset.image_size}x{dataset.image_size}")
