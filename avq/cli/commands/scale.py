"""``avq-bench scale``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options

if TYPE_CHECKING:
    import pandas as pd


class Sizes(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """Sides of the latent, divided by commas."""

    name = "side,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            sizes = ()
        if not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
            self.fail(f"'{value}' is no list of sides in pixels, each once, such as 16,32,64", param, ctx)
        return sizes


_positive = click.IntRange(min=1)


@click.command()
@click.option(
    "--latent-sizes",
    type=Sizes(),
    default="16,32,64",
    show_default=True,
    metavar="SIDE,…",
    help="Sides of the latent, in pixels.",
)
@click.option(
    "--similarities",
    type=options.Names(),
    default="sigmoid,softmax",
    show_default=True,
    metavar="NAME,…",
    help="How the layer's logits become weights (avq-bench show similarity).",
)
@click.option(
    "--implementations",
    type=options.Names(),
    default="dense,linear",
    show_default=True,
    metavar="NAME,…",
    help="How the layer is computed: dense, linear or auto.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="Also this whole variant, at the image size that gives such a latent; repeatable.",
)
@click.option(
    "--passes",
    type=options.Names(),
    default="forward,training-step",
    show_default=True,
    metavar="NAME,…",
    help="forward, training-step.",
)
@click.option("--channels", type=_positive, default=128, show_default=True, help="Channels of the layer's latent.")
@click.option("--filters", type=_positive, help="Filters of the layer's g1 and g2.  [default: as many as channels]")
@click.option("--batch-size", type=_positive, default=1, show_default=True, help="Images at once.")
@click.option("--repeats", type=_positive, default=3, show_default=True, help="Measured calls; medians are reported.")
@click.option("--threads", type=_positive, help="Threads of the CPU.  [default: all cores]")
@options.output
@options.device
@click.option("--fresh", is_flag=True, help="Measure again what was measured before.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also draw to this .png or .svg; both always lie beside the table in the store.",
)
@options.plugin
@options.table_format
def command(picture: Path | None, style: str, output: Path, plugins: tuple[str, ...], **chosen: Any) -> None:
    """Measure how memory and time of attention, and of whole variants, grow with the latent.

    Every point is measured in a process of its own, beside what was counted for it beforehand, and is kept: the same
    command again measures only what is missing. A size that would not fit into the free memory is not tried; its row
    says so. csv and json print the records in long form.

    \b
    Examples:
      avq-bench scale --latent-sizes 16,32,64
      avq-bench scale --latent-sizes 64,128 --similarities softmax --filters 16 --passes training-step
      avq-bench scale --latent-sizes 16,32 --variant aren-1-rpa --variant aren-1 --picture growth.svg
    """
    import avq
    from avq.cli.progress import showing_progress

    _check_picture(picture)
    with showing_progress() as listener:
        long = avq.scale(output=output, on_event=listener, **chosen)
    folder = output / "experiments" / str(long["experiment"].iloc[0])
    _print(long, style)
    places = [("records", folder / "table.csv"), *(("picture", path) for path in _draw(long, folder, picture))]
    click.echo(err=style != "table")
    for what, where in places:
        click.echo(f"{what:<9} {where}", err=style != "table")
    _fail_if_any(long)


def _check_picture(picture: Path | None) -> None:
    from avq.errors import UsageError

    if picture is not None and picture.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--picture {picture}: give a file that ends in .png or .svg.")


def _print(long: pd.DataFrame, style: str) -> None:
    if style == "csv":
        from avq.store.record import to_csv

        click.echo(to_csv(long), nl=False)
    elif style == "json":
        click.echo(long.to_json(orient="records", indent=2, force_ascii=False))
    else:
        from typing import cast

        from avq.cli.present import room
        from avq.reporting.scaling import show

        click.echo(show(long, cast("Any", style), room()))


def _draw(long: pd.DataFrame, folder: Path, picture: Path | None) -> list[Path]:
    """The pictures, where there are two sizes or more."""
    from avq.reporting.figures import attention_scaling

    drawn = attention_scaling(long)
    if drawn is None:
        return []
    targets = [folder / "scale.png", folder / "scale.svg", *([picture] if picture else [])]
    return [drawn.save(path) for path in targets]


def _fail_if_any(long: pd.DataFrame) -> None:
    from avq.errors import AvqError

    failed = long.loc[long["status"] == "failed", "row"].drop_duplicates()
    if len(failed):
        raise AvqError(f"{len(failed)} of {long.loc[long['latent_size'] != '', 'row'].nunique()} points failed: "
                       f"{', '.join(failed)}; the same command tries them again")  # fmt: skip
