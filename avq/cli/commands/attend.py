"""``avq-bench attend``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import Row, print_rows
from avq.errors import UsageError

if TYPE_CHECKING:
    from avq.cli.pictures import Framed
    from avq.evaluation.attention import Look


def _read_pixel(text: str) -> tuple[int, ...]:
    pixel = options.read_numbers(text)
    if len(pixel) != 2:
        raise ValueError(f"'{text}' is not a pixel; write x,y such as 120,80")
    return pixel


@click.command()
@click.argument("image", type=options.FILE)
@click.option("--checkpoint", type=options.FILE, required=True, help="Trained tokenizer with attention (.safetensors).")
@click.option(
    "--pixel",
    "pixels",
    type=options.Parsed(_read_pixel),
    multiple=True,
    required=True,
    metavar="x,y",
    help="Pixel of the image, from 0,0 at the top left; repeatable.",
)
@options.written("Picture to write.", "attention.png")
@options.stacked(options.max_side, options.device, options.plugin, options.table_format)
def command(
    image: Path,
    checkpoint: Path,
    pixels: tuple[tuple[int, int], ...],
    output: Path,
    max_side: int,
    device: str,
    style: str,
) -> None:
    """Draw what the latent pixels at some pixels of IMAGE attend to, level by level, over the image.

    Weights are those of one row of W, normalised to sum 1; `peak` is the largest weight divided by the mean weight,
    and `looks-at` is its place in the image. Read `gain` first: the size of what attention adds to the pixel, relative
    to the pixel itself; near 0 the layer has switched itself off, and the picture shows weights that have no effect.

    \b
    Examples:
      avq-bench attend face.jpg --checkpoint avq-runs/runs/RUN/checkpoint.safetensors --pixel 120,80
      avq-bench attend cat.png --checkpoint model.safetensors --pixel 4,4 --pixel 20,16 -o looks.png
    """
    import torch

    from avq import load_model
    from avq.cli import pictures
    from avq.cli.commands.reconstruct import model_stride
    from avq.data.loader import to_model
    from avq.evaluation.attention import look
    from avq.reporting.figures.attention import attention_picture
    from avq.training.checkpoint import checkpoint_info
    from avq.training.precision import resolve_device

    pictures.check_picture(output)
    place = resolve_device(device)
    model = load_model(checkpoint).to(place)
    if not any(level.attention for level in model.find_levels()):
        variant = checkpoint_info(checkpoint)["variant"]
        raise UsageError(f"{checkpoint} holds {variant}, which has no attention between pixels; aren-1-rpa has it")
    framed = pictures.open_framed(image, model_stride(model), max_side)
    spots = [framed.place(x, y) for x, y in pixels]
    height, width = framed.pixels.shape[:2]
    shares = [((row + 0.5) / height, (column + 0.5) / width) for column, row in spots]
    looks = look(model, to_model(torch.from_numpy(framed.pixels)[None], place), shares)
    shown = list(zip((f"{x},{y}" for x, y in pixels), spots, looks, strict=True))
    pictures.save_picture(attention_picture(framed.pixels, shown), output)
    print_rows([_line(name, one, framed) for name, _, some in shown for one in some], style)
    click.echo(f"\nwrote {output}", err=style != "table")


def _line(name: str, one: Look, framed: Framed) -> Row:
    (height, width), pixels = one.shares.shape, framed.pixels.shape
    down, across = divmod(int(one.shares.argmax()), width)
    x, y = framed.back((across + 0.5) * pixels[1] / width - 0.5, (down + 0.5) * pixels[0] / height - 0.5)
    return {
        "pixel": name,
        "level": one.level,
        "latent": f"{width}x{height}",
        "gain": float(f"{one.gain:.3g}"),
        "peak": round(float(one.shares.max()) * height * width, 2),
        "looks-at": f"{x},{y}",
        "distance": round(one.distance, 3),
        "entropy": round(one.entropy, 3),
    }
