"""``avq-bench table``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@options.split
@click.option("--rows", type=options.Names(), metavar="ROW,…", help="Only these rows, by label or variant.")
@click.option("--metrics", type=options.Names(), metavar="NAME,…", help="Only these metrics.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only records with this value; repeatable.")
@click.option(
    "--view",
    type=click.Choice(["rows", "rate-distortion"]),
    default="rows",
    show_default=True,
    help="rate-distortion: bits per pixel against MAE, PSNR and LPIPS, in the order of the rate.",
)
@click.option("--pivot", type=options.Names(), metavar="DOWN,ACROSS", help="One metric (MAE) across two axes.")
@click.option(
    "--format",
    "style",
    type=click.Choice([*options.FORMATS, "latex", "parquet"]),
    default="table",
    show_default=True,
    help="How to print; latex needs booktabs, parquet goes to a file or a pipe.",
)
@options.plugin
def command(
    results: Path,
    split: str,
    rows: tuple[str, ...] | None,
    metrics: tuple[str, ...] | None,
    where: tuple[str, ...],
    view: str,
    pivot: tuple[str, ...] | None,
    style: str,
    plugins: tuple[str, ...],
) -> None:
    """Print the table of RESULTS: a store, an experiment's folder in it, or a long-form CSV.

    Trained numbers are means over seeds, with the standard deviation between seeds. Rows obtained under
    different protocols are never put in one column (exit code 3).

    \b
    Examples:
      avq-bench table avq-runs
      avq-bench table avq-runs/experiments/ablation_levels-smoke-synthetic-faces --format json
      avq-bench table results/cpu/ablation_levels-small-cifar10.csv --format markdown
      avq-bench table results/cpu/ablation_levels-small-cifar10.csv --pivot levels,attention --metrics psnr
      avq-bench table results/cpu/ablation_levels-small-cifar10.csv --metrics mae,psnr --format latex
      avq-bench table results/cpu/ablation_levels-small-cifar10.csv --view rate-distortion
    """
    from avq import load_results
    from avq.cli.present import experiments_of, print_experiments
    from avq.errors import UsageError
    from avq.reporting.selection import select
    from avq.store.declared import ablation_of

    long = select(load_results(results), rows, metrics, _pairs(where))
    if view == "rate-distortion":
        if pivot is not None or metrics is not None or style == "latex":
            raise UsageError("--view rate-distortion takes neither --pivot nor --metrics, and any format but latex.")
        _print_rates(long, style, split)
    elif pivot is not None:
        _print_pivot(long, pivot, metrics, style, split)
    elif style in ("latex", "parquet"):
        _print_whole(long, style, split, metrics or ())
    else:
        print_experiments(experiments_of(long, partial(ablation_of, results)), style, split, metrics or ())


def _pairs(where: tuple[str, ...]) -> dict[str, str]:
    from avq.errors import UsageError

    for text in where:
        if "=" not in text:
            raise UsageError(f"--where {text}: write COLUMN=VALUE, such as --where levels=2.")
    return {name: value for name, _, value in (text.partition("=") for text in where)}


def _print_pivot(
    long: pd.DataFrame, axes: tuple[str, ...], metrics: tuple[str, ...] | None, style: str, split: str
) -> None:
    from typing import cast

    from avq.cli.present import room
    from avq.errors import UsageError
    from avq.reporting.render import Format, render, text_table
    from avq.reporting.selection import label, pivot, shown

    if len(axes) != 2 or len(metrics or ("mae",)) != 1 or style == "latex":
        raise UsageError("--pivot takes two axes (DOWN,ACROSS), one metric, and any format but latex.")
    (metric,) = metrics or ("mae",)
    table = pivot(long, *axes, metric, split)
    if style == "parquet":
        _write_parquet(table)
    elif style in ("csv", "json"):
        click.echo(render(table, cast("Format", style)))
    else:
        click.echo(f"{label(metric, split)}\n\n{text_table(shown(table, metric), cast('Format', style), room())}")


def _print_rates(long: pd.DataFrame, style: str, split: str) -> None:
    """The rate-distortion rows of each experiment; as csv, json and parquet in one table."""
    from typing import cast

    from avq.cli.present import room
    from avq.reporting.rates import rate_distortion
    from avq.reporting.render import Format, render

    tables = {str(name): rate_distortion(part, split) for name, part in long.groupby("experiment", sort=False)}
    if style in ("table", "markdown"):
        texts = (f"{name}\n\n{render(table, cast('Format', style), room())}" for name, table in tables.items())
        click.echo("\n\n".join(texts))
    elif style == "parquet":
        _write_parquet(_joined(tables))
    else:
        click.echo(render(_joined(tables), cast("Format", style)))


def _print_whole(long: pd.DataFrame, style: str, split: str, metrics: tuple[str, ...]) -> None:
    from avq.reporting.latex import latex
    from avq.reporting.tables import wide_table

    tables = {str(name): wide_table(part, split, metrics) for name, part in long.groupby("experiment", sort=False)}
    if style == "latex":
        click.echo("\n\n".join(f"% {name}\n{latex(table)}" for name, table in tables.items()))
    else:
        _write_parquet(_joined(tables))


def _joined(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables of several experiments as one, the experiment's name in front."""
    import pandas as pd

    table = pd.concat([table.assign(experiment=name) for name, table in tables.items()], ignore_index=True)
    return table[["experiment", *(name for name in table if name != "experiment")]]


def _write_parquet(table: pd.DataFrame) -> None:
    from avq.errors import UsageError

    if sys.stdout.isatty():
        raise UsageError("parquet is no text: send it to a file, as in `... --format parquet > table.parquet`.")
    click.echo(table.to_parquet(index=False), nl=False)
