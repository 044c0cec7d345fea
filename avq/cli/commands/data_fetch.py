"""``avq-bench data fetch``."""

from __future__ import annotations

from pathlib import Path

import click

from avq.cli import options
from avq.cli.data_bars import counting


@click.command()
@click.argument("name")
@options.cards
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that receives the files.  [default: the user's cache]",
)
def fetch(name: str, output: Path | None) -> None:
    """Fetch dataset NAME where it is published, or say how to get it where its terms need your consent.

    An interrupted download is resumed; what arrives is checked.

    \b
    Examples:
      avq-bench data fetch cifar10
      avq-bench data fetch lsun-church --output /big/disk
    """
    from avq.data import cifar10
    from avq.data.cards import get_card
    from avq.data.fetch import fetch as fetch_files
    from avq.data.roots import cache_root
    from avq.errors import AvqError

    card, root = get_card(name), output or cache_root()
    if card.kind == "cifar10":
        if not cifar10.is_there(card, root):
            cifar10.download(card, root)
        cifar10.verify(card, root)
        click.echo(f"cifar10 is at {root / card.folder}, and every file is the official one")
        return
    if not card.downloads:
        terms = f" Its terms: {card.terms}." if card.terms else ""
        raise AvqError(f"{name} cannot be fetched for you.{terms} To get it, {card.how_to_get}")
    click.echo(f"{name}: {card.licence}", err=True)
    folder = root / "downloads" / name
    with counting("bytes") as count:
        fetch_files(card, folder, count)
    click.echo(f"{name} is at {folder}")
    click.echo(f"go on with: avq-bench data prepare {name} --source {folder}")
