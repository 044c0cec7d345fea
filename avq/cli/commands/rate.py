"""``avq-bench rate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import Row, print_rows

if TYPE_CHECKING:
    from avq.priors.rate import Rate


def read_shapes(text: str) -> list[tuple[int, ...]]:
    """Sizes joined by x, several separated by commas: ``8x8,4x4``."""
    try:
        shapes = [tuple(int(side) for side in part.split("x")) for part in text.split(",")]
    except ValueError:
        shapes = []
    if not shapes or any(len(shape) not in (2, 3) or min(shape) < 1 for shape in shapes):
        raise ValueError(f"'{text}' is not like 8x8, or 8x8x4 with a depth, or 8x8,4x4 for two levels")
    return shapes


@click.command()
@click.argument("codes", type=options.FILE, metavar="CODES.npz")
@click.option(
    "--codebook-size",
    type=options.Parsed(options.read_positive),
    required=True,
    metavar="K|K,…",
    help="Codebook size, one or one per level.",
)
@click.option(
    "--shape",
    "shapes",
    type=options.Parsed(read_shapes),
    default=(),
    metavar="HxW[xDEPTH],…",
    help="Of an image's codes, where the arrays are [N, tokens]; one or one per level.",
)
@options.decoder_levels
@click.option("--image-size", type=options.Parsed(read_shapes), metavar="HxW", help="Of an image, in pixels.")
@click.option(
    "--seeds",
    type=options.Parsed(options.read_seeds),
    default="3",
    metavar="N|A,B,…",
    help="How many priors (3), or which seeds (0,4,7).",
)
@options.device
@options.table_format
def command(
    codes: Path,
    codebook_size: tuple[int, ...],
    shapes: list[tuple[int, ...]],
    decoder_levels: tuple[int, ...] | None,
    image_size: list[tuple[int, ...]] | None,
    seeds: tuple[int, ...],
    device: str,
    style: str,
) -> None:
    """Measure what the codes in CODES.npz cost under a prior that learned them.

    The file is one that any program may write: arrays `train` and `test` of whole numbers [N, h, w], [N, h, w, depth]
    or [N, tokens], and perhaps `validation`, which chooses the prior's weights (else a tenth of `train`, at most 5,000
    images, is held out). With several levels they are called `train-level-1` (the finest), `train-level-2`, … Add the
    codes of mirrored images to `train` where the tokenizer was trained on them too.

    For each seed, a prior of one size is trained for one budget (five minutes of a core for 8x8 codes). Its mean
    -log2 p of the test codes is printed beside the unigram and the nominal rate; low to high is its 95 % interval over
    priors. Bits a token are not comparable across codebook sizes or numbers of tokens; bits a pixel are.

    \b
    Examples:
      avq-bench rate codes.npz --codebook-size 256 --image-size 32x32
      avq-bench rate codes.npz --codebook-size 1024 --shape 16x16 --seeds 1
    """
    from avq.cli.progress import counting
    from avq.external.dump import read_dump
    from avq.priors.rate import STANDARD, rate
    from avq.training.precision import resolve_device
    from avq.training.trainer import OnProgress, Progress

    place = resolve_device(device)
    splits, layout = read_dump(codes, codebook_size, shapes, decoder_levels)
    with counting("steps") as count:

        def watch(seed: int) -> OnProgress:
            def show(progress: Progress) -> None:
                count(f"prior of seed {seed}", progress.step, progress.steps)

            return show

        found = rate(splits, layout, seeds=seeds, config=STANDARD, device=place, watch=watch)
    pixels = None if image_size is None else image_size[0][0] * image_size[0][1]
    print_rows(_rows(found, pixels), style)
    curve = ", ".join(f"{row['validation-bits-per-token']:.2f}" for row in found.curve)
    about = f"Protocol {found.protocol}; validation bits a token after each {found.curve[0]['images']:,.0f} images: "
    click.echo(f"\n{about}{curve}.", err=style != "table")


def _rows(found: Rate, pixels: int | None) -> list[Row]:
    unit, over = ("bits/px", pixels) if pixels else ("bits/image", 1)
    return [
        {
            "rate": name,
            "bits/token": bits / found.tokens,
            unit: bits / over,
            "low": None if low is None else low / over,
            "high": None if high is None else high / over,
        }
        for name, bits, (low, high) in (
            ("prior", found.bits, found.interval() or (None, None)),
            ("unigram", found.unigram, (None, None)),
            ("nominal", found.nominal, (None, None)),
        )
    ]
