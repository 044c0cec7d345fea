"""``avq-bench score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.measured import echo_notes, labels, measuring, report

if TYPE_CHECKING:
    from avq.external.ranges import Range

_RANGES = ("unit", "signed", "byte")


def _read_ranges(text: str) -> tuple[str, str]:
    """One range for both sides, or one each."""
    parts = text.split(",")
    if len(parts) > 2 or not set(parts) <= set(_RANGES):
        raise ValueError(f"'{text}' is neither one of {', '.join(_RANGES)}, nor two of them such as unit,signed")
    return parts[0], parts[-1]


@click.command()
@click.argument("originals", type=options.FILE_OR_FOLDER)
@click.argument("reconstructions", type=options.FILE_OR_FOLDER)
@click.option("--codes", type=options.FILE, help="Codes (.npy, .npz), one array per level.")
@click.option(
    "--codebook-size",
    type=options.Parsed(options.read_positive),
    default=(),
    metavar="K|K,…",
    help="Codebook size, one or one per level.",
)
@options.decoder_levels
@click.option(
    "--range",
    "ranges",
    type=options.Parsed(_read_ranges),
    metavar="RANGE[,RANGE]",
    help="Values of float arrays: unit [0,1], signed [-1,1] or byte [0,255]; originals,reconstructions if they differ.",
)
@click.option("--allow-lossy", is_flag=True, help="Accept JPEG reconstructions, and mark their rows.")
@click.option("--dataset", metavar="NAME", help="Name of the images in tables.  [default: ORIGINALS' name]")
@options.cards
@options.split
@options.stacked(labels, options.device, options.allow_small, options.weights_dir, options.plugin, options.table_format)
def command(
    originals: Path,
    reconstructions: Path,
    codes: Path | None,
    codebook_size: tuple[int, ...],
    decoder_levels: tuple[int, ...] | None,
    ranges: tuple[Range, Range] | None,
    allow_lossy: bool,
    dataset: str | None,
    split: str,
    name: str | None,
    seed: int | None,
    output: Path | None,
    device: str,
    allow_small: bool,
    style: str,
) -> None:
    """Measure RECONSTRUCTIONS against ORIGINALS, from any tool, under the protocol of `evaluate`.

    Both are folders of images (PNG; originals may be JPEG) or arrays (.npy, .npz). Files are paired by name without
    suffix, arrays by position. The originals must be exactly the images that the model saw, at its size. Codes are
    integers [N, h, w], named level-1 (the finest), level-2, … if there are several.

    PNGs hold 8 bits, so their rows have `recon=uint8` in the protocol id and compare with those of `evaluate --round`;
    float arrays compare with those of `evaluate`.

    \b
    Examples:
      avq-bench score originals/ reconstructions/
      avq-bench score originals/ reconstructions/ --codes codes.npz --codebook-size 512
      avq-bench score x.npy y.npy --range signed --name my-vqgan --dataset cifar10 --output results.csv
    """
    from avq.data.cards import get_card, list_datasets
    from avq.external.score import open_pairs, score
    from avq.machine import machine_name
    from avq.store.outside import Label, check_target
    from avq.training.precision import resolve_device

    place = resolve_device(device)
    row = name or reconstructions.resolve().stem
    about = dataset or originals.resolve().stem
    label = Label(row, row, about, split, seed or 0, machine_name(place))
    if output is not None:
        check_target(output, label)
    pairs = open_pairs(
        originals,
        reconstructions,
        codes,
        codebook_size,
        decoder_levels,
        ranges=ranges or (None, None),
        allow_lossy=allow_lossy,
    )
    faces = about in list_datasets() and get_card(about).shows_faces  # whose symmetry `evaluate` measures too
    with measuring(len(pairs.originals)) as count:
        rows, _, notes = score(*pairs, faces=faces, device=place, allow_small=allow_small, on_images=count)
    echo_notes(notes)
    report(rows, label, style, output)
