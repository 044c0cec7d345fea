"""``avq-bench data prepare``."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import print_lines
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
    help="Where the images are: a folder, zip, tar, LMDB (LSUN's), parquet or Arrow file; only read.",
)
@click.option("--size", type=int, help="Height and width in pixels.  [default: the dataset's own default]")
@click.option(
    "--as",
    "own_name",
    metavar="NAME",
    default="",
    show_default=False,
    help="Call it NAME, split as dataset NAME is: runs then take --dataset NAME, and others lie beside it.",
)
@click.option(
    "--output",
    "--data-root",
    "output",
    type=options.FOLDER,
    callback=options.find_cards,
    help="Folder for the set; give it as --data-root later.  [default: the user's cache, where runs look]",
)
@click.option("--images", type=options.POSITIVE, help="Take a sample of so many images.  [default: all]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Decides which images a sample takes.")
@click.option("--workers", type=options.POSITIVE, help="Processes that decode.  [default: one per core]")
@click.option(
    "--max-bad",
    type=click.IntRange(min=0),
    default=0,
    help="Continue with up to this many unusable images; each is listed with the reason.",
)
def prepare(
    name: str, source: Path, own_name: str, size: int | None, output: Path | None, images: int | None, seed: int,
    workers: int | None, max_bad: int,
) -> None:  # fmt: skip
    """Prepare the images of dataset NAME: decode, crop, resize, split, and save them for memory-mapping.

    A killed command resumes where it stopped. The result is the same for any number of workers.

    \b
    Examples:
      avq-bench data prepare celebahq --source ~/Downloads/CelebAMask-HQ.zip --size 256
      avq-bench data prepare lsun-church --source ~/lsun --size 64 --workers 4
      avq-bench data prepare folder --source ~/pics --as pets --max-bad 20
    """
    from avq.data.cards import get_card, named_card, own_folder, register_cards, write_card
    from avq.data.config import DataConfig, resolve
    from avq.data.containers import sampled
    from avq.data.open import open_container
    from avq.data.prepare import TooManyBad
    from avq.data.prepare import prepare as prepare_set
    from avq.data.roots import cache_root
    from avq.errors import AvqError, UsageError
    from avq.machine import cores

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left behind, and one line says so
    card = get_card(name)
    if card.kind != "folder":
        raise UsageError(f"{name} needs no preparing: {card.how_to_get}")
    pixels = resolve(DataConfig(name, size)).image_size
    assert pixels is not None
    if own_name:
        card = named_card(card, own_name)
    root = output or cache_root()
    container = open_container(source, card.options.get("skip", ""))
    if images:
        container = sampled(container, images, seed)
    with counting("images") as count:
        try:
            outcome = prepare_set(
                card, container, pixels, root, workers=workers or cores(), max_bad=max_bad,
                on_progress=partial(count, card.name),
            )  # fmt: skip
        except TooManyBad as error:
            print_lines(error.refused)
            them = "it" if error.count == 1 else "them"
            raise AvqError(f"{error}; --max-bad {error.count} leaves {them} out") from None
    if own_name:
        write_card(card, own_folder(root))
        register_cards(own_folder(root))
    _print_outcome(card, outcome, pixels, output)


def _print_outcome(card: Card, outcome: Outcome, size: int, output: Path | None) -> None:
    from avq.data.cards import card_files, named_folders

    prepared, counts = outcome.prepared, outcome.prepared.manifest["counts"]
    splits = ", ".join(f"{count:,} {split}" for split, count in prepared.counts.items())
    click.echo(f"{card.name} at {size}x{size}{' was there already' if outcome.reused else ''}: {splits}")
    print_lines(prepared.account)
    if card.expected and counts["source"] != sum(card.expected.values()):
        whole = ", ".join(f"{count:,} {part}" for part, count in card.expected.items())
        click.echo(f"the source holds {counts['source']:,} images; all of {card.name}: {whole}")
    by = "names" if prepared.manifest["split"]["by_name"] else "a hash of the decoded pixels"
    print_lines([f"split by {by}; set: {prepared.folder}"])
    root = f" --data-root {output}" if output else ""
    folder = card_files()[card.name].parent
    cards = f" --cards {folder}" if folder in named_folders() and folder.parent != prepared.folder.parent else ""
    click.echo(f"next: avq-bench run ablation_levels --dataset {card.name} --set image_size={size}{root}{cards}")
