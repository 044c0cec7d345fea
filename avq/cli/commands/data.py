"""``avq-bench data``: what is done with images before any run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.commands.data_prepare import prepare
from avq.cli.output import Row, print_lines, print_rows
from avq.cli.progress import counting
from avq.errors import AvqError, UsageError

if TYPE_CHECKING:
    from avq.data.cards import Card


@click.group()
def command() -> None:
    """Fetch, prepare, check and view datasets.

    A dataset of photographs is prepared once, from the form in which it was published, and memory-mapped by every run.

    \b
    Examples:
      avq-bench data prepare celebahq --source ~/Downloads/CelebAMask-HQ.zip --size 256
      avq-bench data check
      avq-bench data fetch lsun-church
      avq-bench data sheet celebahq -o faces.png
    """


command.add_command(prepare)


@command.command()
@click.argument("name")
@options.cards
@click.option("--output", type=options.FOLDER, help="Folder for the files.  [default: the user's cache]")
def fetch(name: str, output: Path | None) -> None:
    """Fetch dataset NAME from where it is published, or say how to get it if its terms need your consent.

    An interrupted download is resumed; every file is verified.

    \b
    Examples:
      avq-bench data fetch cifar10
      avq-bench data fetch lsun-church --output /big/disk
    """
    from avq.data import cifar10
    from avq.data.cards import get_card
    from avq.data.fetch import fetch as fetch_files
    from avq.data.roots import cache_root

    card, root = get_card(name), output or cache_root()
    if card.kind == "cifar10":
        if not cifar10.is_there(card, root):
            cifar10.download(card, root)
        cifar10.verify(card, root)
        click.echo(f"cifar10 is at {root / card.folder}, and every file is the official one")
        return
    if not card.downloads:
        terms = f" Its terms: {card.terms}." if card.terms else ""
        raise UsageError(f"{name} cannot be fetched for you.{terms} To get it, {card.how_to_get}")
    click.echo(f"{name}: {card.licence}", err=True)
    folder = root / "downloads" / name
    with counting("bytes") as count:
        fetch_files(card, folder, count)
    click.echo(f"{name} is at {folder}")
    click.echo(f"next: avq-bench data prepare {name} --source {folder}")


@command.command()
@click.argument("name", required=False)
@click.option("--size", type=int, help="Only the set of this size.  [default: all sizes]")
@options.cards
@options.data_root
@options.table_format
def check(name: str | None, size: int | None, data_root: Path | None, style: str) -> None:
    """Verify prepared sets against their manifests, and CIFAR-10 against its published checksums.

    Every file is read. The exit code is 1 if a file is damaged or was changed.

    \b
    Examples:
      avq-bench data check
      avq-bench data check celebahq --size 256
    """
    from avq.data.cards import get_card, list_datasets
    from avq.data.prepared import prepared_sizes
    from avq.data.roots import resolve_root

    root, _ = resolve_root(data_root)
    rows: list[Row] = []
    accounts: list[str] = []
    for card in map(get_card, [name] if name else list_datasets()):
        sizes = [at for at in prepared_sizes(root, card.name) if size in (None, at)]
        if card.kind == "cifar10" and (root / card.folder).is_dir():
            sizes = [card.native_size]
        rows += [_checked(card, root, at, accounts) for at in sizes]
    if not rows:
        what = f"of {name}" + (f" at {size} pixels" if size else "") if name else "of any dataset"
        raise UsageError(f"nothing {what} is prepared in {root}")
    print_rows(rows, style)
    if style == "table":
        print_lines(accounts)
    wrong = sum(row["verdict"] != "good" for row in rows)
    if wrong:
        raise AvqError(f"{wrong} of {len(rows)} sets are damaged")


def _checked(card: Card, root: Path, size: int, accounts: list[str]) -> Row:
    from avq.data import cifar10, prepared

    row: dict[str, object] = {"dataset": card.name, "size": size, "images": sum(card.images.values()) or None}
    try:
        if card.kind == "cifar10":
            cifar10.verify(card, root)
        else:
            found = prepared.find_prepared(root, card, size)
            assert found is not None
            row["images"] = sum(found.counts.values())
            first, *refused = found.account
            accounts += [f"{found.folder.name}: {first}", *(f"  {line}" for line in refused)]
            prepared.check(found)
    except AvqError as error:
        return row | {"verdict": str(error)}
    return row | {"verdict": "good"}


@command.command()
@click.argument("name")
@options.written("The picture to write, such as sheet.png.")
@click.option("--size", type=int, help="Height and width of the images.  [default: the dataset's own default]")
@click.option("--images", type=options.POSITIVE, default=64, help="How many.")
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
