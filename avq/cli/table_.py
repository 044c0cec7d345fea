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
@click.option("--pivot", type=options.Names(), metavar="DOWN,ACROSS", help="One metric (MAE) across two axes.")
@click.option(
    "--format",
    "style",
    type=click.Choice([*options.FORMATS, "latex", "parquet"]),
    default="table",
    show_default=True,
    help="How to print; latex needs booktabs, parquet goes to a file or a pipe.",
)
def command(
    results: Path,
    split: str,
    rows: tuple[str, ...] | None,
    metrics: tuple[str, ...] | None,
    where: tuple[str, ...],
    pivot: tuple[str, ...] | None,
    style: str,
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
    """
    from avq import load_results
    from avq.cli.present import experiments_of, print_experiments
    from avq.experiments.declared import ablation_of
    from avq.reporting.selection import select

    long = select(load_results(results), rows, metrics, _pairs(where))
    if pivot is not None:
        _print_pivot(long, pivot, metrics, style, split)
    elif style in ("latex", "parquet"):
        _print_whole(long, style, split)
    else:
        print_experiments(experiments_of(long, partial(ablation_of, results)), style, split)


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


def _print_whole(long: pd.DataFrame, style: str, split: str) -> None:
    import pandas as pd

    from avq.reporting.latex import latex
    from avq.reporting.tables import wide_table

    tables = {str(name): wide_table(part, split) for name, part in long.groupby("experiment", sort=False)}
    if style == "latex":
        click.echo("\n\n".join(f"% {name}\n{latex(table)}" for name, table in tables.items()))
        return
    named = [table.assign(experiment=name) for name, table in tables.items()]
    table = pd.concat(named, ignore_index=True)
    _write_parquet(table[["experiment", *(name for name in table if name != "experiment")]])


def _write_parquet(table: pd.DataFrame) -> None:
    from avq.errors import UsageError

    if sys.stdout.isatty():
        raise UsageError("parquet is no text: send it to a file, as in `... --format parquet > table.parquet`.")
    click.echo(table.to_parquet(index=False), nl=False)
