"""``avq-bench data prepare``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.progress import counting

if TYPE_CHECKING:
    from avq.data.cards import Card
    from avq.data.prepare import Outcome


@click.command()
@click.argument("name")
@options.cards
@click.option(
    "--source",
    type=options.FILE_OR_FOLDER,
    required=True,
    help="Where the images are: a folder, zip, tar, LMDB (LSUN's) or parquet file; only read.",
)
@click.option("--size", type=int, help="Height and width in pixels.  [default: the dataset's own default]")
@click.option(
    "--output",
    type=options.FOLDER,
    help="Folder for the set; give it as --data-root later.  [default: the user's cache, where runs look]",
)
@click.option("--workers", type=options.POSITIVE, help="Processes that decode.  [default: one per core]")
@click.option(
    "--max-bad",
    type=click.IntRange(min=0),
    default=0,
    help="Continue with up to this many unusable images; each is listed with the reason.",
)
def prepare(name: str, source: Path, size: int | None, output: Path | None, workers: int | None, max_bad: int) -> None:
    """Prepare the images of dataset NAME: decode, crop, resize, split, and save them for memory-mapping.

    A killed command resumes where it stopped. The result is the same for any number of workers.

    \b
    Examples:
      avq-bench data prepare celebahq --source ~/Downloads/CelebAMask-HQ.zip --size 256
      avq-bench data prepare lsun-church --source ~/lsun --size 64 --workers 4
      avq-bench data prepare folder --source ~/pics --max-bad 20
    """
    from avq.data.cards import get_card
    from avq.data.config import DataConfig, resolve
    from avq.data.open import open_container
    from avq.data.prepare import TooManyBad
    from avq.data.prepare import prepare as prepare_set
    from avq.data.roots import cache_root
    from avq.errors import UsageError
    from avq.machine import cores

    card = get_card(name)
    if card.kind != "folder":
        raise UsageError(f"{name} needs no preparing: {card.how_to_get}")
    pixels = resolve(DataConfig(name, size)).image_size
    assert pixels is not None
    container = open_container(source, card.options.get("skip", ""))
    with counting("images") as count:
        try:
            outcome = prepare_set(
                card, container, pixels, output or cache_root(), workers=workers or cores(), max_bad=max_bad,
                on_progress=partial(count, name),
            )  # fmt: skip
        except TooManyBad as error:
            raise TooManyBad(f"{error}; --max-bad N tolerates N unusable images") from None
    _print_outcome(card, outcome, pixels, output)


def _print_outcome(card: Card, outcome: Outcome, size: int, output: Path | None) -> None:
    from avq.data.cards import card_files, named_folders

    prepared, counts = outcome.prepared, outcome.prepared.manifest["counts"]
    splits = ", ".join(f"{count:,} {split}" for split, count in prepared.counts.items())
    click.echo(f"{card.name} at {size}x{size}{' was there already' if outcome.reused else ''}: {splits}")
    if counts["unusable"]:
        click.echo(f"{counts['unusable']:,} of {counts['source']:,} images cannot be used; images.csv says why")
    if counts["left_out"]:
        click.echo(f"{counts['left_out']:,} images are left out: copies of others in validation or test")
    if card.expected and counts["source"] != sum(card.expected.values()):
        whole = ", ".join(f"{count:,} {part}" for part, count in card.expected.items())
        click.echo(f"the source holds {counts['source']:,} images; all of {card.name}: {whole}")
    by = "names" if prepared.manifest["split"]["by_name"] else "a hash of the decoded pixels"
    click.echo(f"split by {by}; set: {prepared.folder}")
    root = f" --data-root {output}" if output else ""
    folder = card_files()[card.name].parent
    cards = f" --cards {folder}" if folder in named_folders() else ""
    click.echo(f"use it: avq-bench run ablation_levels --dataset {card.name} --set image_size={size}{root}{cards}")
