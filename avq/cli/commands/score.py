"""``avq-bench score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.measured import counting, labels, report

if TYPE_CHECKING:
    from avq.external.ranges import Range

_RANGES = ("unit", "signed", "byte")


class Ranges(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """One range for both sides, or one each, divided by a comma."""

    name = "range"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        parts = str(value).split(",")
        if len(parts) > 2 or not set(parts) <= set(_RANGES):
            self.fail(f"'{value}' is none of {', '.join(_RANGES)}, nor two of them such as unit,signed", param, ctx)
        return parts[0], parts[-1]


class Whole(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """Positive whole numbers, divided by commas."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            numbers = (0,)
        if min(numbers) < 1:
            self.fail(f"'{value}' is no positive whole number, nor several divided by commas", param, ctx)
        return numbers


@click.command()
@click.argument("originals", type=click.Path(path_type=Path))
@click.argument("reconstructions", type=click.Path(path_type=Path))
@click.option("--codes", type=click.Path(path_type=Path, dir_okay=False), help="Codes (.npy, .npz), an array a level.")
@click.option("--codebook-size", type=Whole(), default=(), metavar="K|K,…", help="Codebook size, one or one a level.")
@click.option(
    "--decoder-levels", type=Whole(), metavar="N,…", help="Levels (1 = finest) that the decoder sees.  [default: all]"
)
@click.option(
    "--range",
    "ranges",
    type=Ranges(),
    metavar="RANGE[,RANGE]",
    help="Values of float arrays: unit [0,1], signed [-1,1] or byte [0,255]; originals,reconstructions if they differ.",
)
@click.option("--allow-lossy", is_flag=True, help="Accept JPEG reconstructions, and mark their rows.")
@click.option("--dataset", metavar="NAME", help="What the images are called in tables.  [default: ORIGINALS' name]")
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
    plugins: tuple[str, ...],
    style: str,
) -> None:
    """Measure RECONSTRUCTIONS against ORIGINALS, from any tool, under the protocol of `evaluate`.

    Both are folders of images (PNG; originals may be JPEG) or arrays (.npy, .npz). Files are paired by name without
    suffix, arrays by position. The originals must be the very images that the model saw, at its size. Codes are
    integers [N, h, w], called level-1 (the finest), level-2, … where there are several.

    PNGs hold 8 bits, so their rows have `recon=uint8` in the protocol id and compare with those of `evaluate --round`;
    float arrays compare with those of `evaluate`.

    \b
    Examples:
      avq-bench score originals/ reconstructions/
      avq-bench score originals/ reconstructions/ --codes codes.npz --codebook-size 512
      avq-bench score x.npy y.npy --range signed --name my-vqgan --dataset cifar10 --output results.csv
    """
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
    with counting(len(pairs.originals)) as count:
        rows, _, notes = score(
            *pairs, faces=_shows_faces(about), device=place, allow_small=allow_small, on_images=count
        )
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    report(rows, label, style, output)


def _shows_faces(dataset: str) -> bool:
    """Whether the images are those of a dataset of faces, whose symmetry `evaluate` measures too."""
    from avq.data.cards import get_card, list_datasets
    from avq.evaluation.evaluate import shows_faces

    return dataset in list_datasets() and shows_faces(get_card(dataset))
