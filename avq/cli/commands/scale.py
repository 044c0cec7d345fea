"""``avq-bench scale``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.options import F
from avq.errors import AvqError, UsageError

if TYPE_CHECKING:
    import pandas as pd


def _read_sizes(text: str) -> tuple[int, ...]:
    sizes = options.read_numbers(text)
    if not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
        raise ValueError(f"'{text}' is not a list of sides in pixels, each once, such as 16,32,64")
    return sizes


def _list(
    name: str, default: str, help: str, metavar: str = "NAME,…", of: options.Parsed = options.NAMES
) -> Callable[[F], F]:
    return click.option(name, type=of, default=default, metavar=metavar, help=help)


def _number(name: str, help: str, default: int | None = None) -> Callable[[F], F]:
    return click.option(name, type=options.POSITIVE, default=default, help=help)


@click.command()
@_list("--latent-sizes", "16,32,64", "Sides of the latent, in pixels.", "SIDE,…", options.Parsed(_read_sizes))
@_list("--similarities", "sigmoid,softmax", "How the layer's logits become weights (avq-bench show similarity).")
@_list("--implementations", "dense,linear", "How the layer is computed: dense, linear or auto.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="Also measure this whole variant, at the image size that has this latent size; repeatable.",
)
@_list("--passes", "forward,training-step", "forward, training-step.")
@_number("--channels", "Channels of the layer's latent.", 128)
@_number("--filters", "Filters of the layer's g1 and g2.  [default: as many as channels]")
@_number("--batch-size", "Images at once.", 1)
@_number("--repeats", "Measured calls; medians are reported.", 3)
@_number("--threads", "Threads of the CPU.  [default: all cores]")
@options.output
@options.device
@click.option("--fresh", is_flag=True, help="Measure again what was measured before.")
@click.option(
    "--picture",
    type=options.FILE,
    metavar="FILE",
    help="Also draw to this .png or .svg; the store always has both, beside the table.",
)
@options.plugin
@options.table_format
def command(picture: Path | None, style: str, output: Path, **chosen: Any) -> None:
    """Measure how memory and time of attention, and of whole variants, grow with the latent size.

    Each point is measured in a process of its own and saved beside its predicted memory and time: the same command
    again measures only what is missing. A size that would not fit into the free memory is not tried; its row says so.
    csv and json print the records in long form.

    \b
    Examples:
      avq-bench scale --latent-sizes 16,32,64
      avq-bench scale --latent-sizes 64,128 --similarities softmax --filters 16 --passes training-step
      avq-bench scale --latent-sizes 16,32 --variant aren-1-rpa --variant aren-1 --picture growth.svg
    """
    import avq
    from avq.cli.progress import showing_progress
    from avq.cli.sweep import say_where
    from avq.reporting.figures import attention_scaling

    if picture is not None and picture.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--picture {picture}: give a file that ends in .png or .svg.")
    with showing_progress() as listener:
        long = avq.scale(output=output, on_event=listener, **chosen)
    folder = output / "experiments" / str(long["experiment"].iloc[0])
    _print(long, style)
    places = [("records", folder / "table.csv")]
    if drawn := attention_scaling(long):  # there are two sizes or more
        targets = [folder / "scale.png", folder / "scale.svg", *([picture] if picture else [])]
        places += [("picture", drawn.save(path)) for path in targets]
    say_where(places, to_stderr=style != "table")
    failed = long.loc[long["status"] == "failed", "row"].drop_duplicates()
    if len(failed):
        points = long.loc[long["latent_size"] != "", "row"].nunique()
        raise AvqError(
            f"{len(failed)} of {points} points failed: {', '.join(failed)}; the same command tries them again"
        )


def _print(long: pd.DataFrame, style: Any) -> None:
    from avq.cli.present import room
    from avq.reporting.scaling import show
    from avq.store.record import to_csv

    if style == "csv":
        click.echo(to_csv(long), nl=False)
    elif style == "json":
        click.echo(long.to_json(orient="records", indent=2, force_ascii=False))
    else:
        click.echo(show(long, style, room()))
