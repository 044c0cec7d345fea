"""``avq-bench table``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


@click.command()
@click.argument("results", type=options.FILE_OR_FOLDER)
@options.split
@click.option("--rows", type=options.NAMES, metavar="ROW,…", help="Only these rows, by label or variant.")
@click.option("--metrics", type=options.NAMES, metavar="NAME,…", help="Only these metrics.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only records with this value; repeatable.")
@click.option(
    "--view",
    type=click.Choice(["rows", "rate-distortion"]),
    default="rows",
    help="rate-distortion: bits per pixel against MAE, PSNR and LPIPS, ordered by rate.",
)
@click.option("--pivot", type=options.NAMES, metavar="DOWN,ACROSS", help="One metric (MAE) across two axes.")
@options.formats(
    *options.FORMATS, "latex", "parquet", help="How to print; latex needs booktabs, parquet goes to a file or a pipe."
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
    from avq.cli.present import by_experiment, print_experiments
    from avq.reporting.latex import latex
    from avq.reporting.rates import rate_distortion
    from avq.reporting.selection import select
    from avq.reporting.statistics import judged
    from avq.reporting.tables import wide_table
    from avq.store.declared import ablation_of

    whole = load_results(results)
    long = select(whole, rows, metrics, _pairs(where))
    if view == "rate-distortion":
        if pivot is not None or metrics is not None or style == "latex":
            raise UsageError("--view rate-distortion takes neither --pivot nor --metrics, and any format but latex.")
        _print_tables({name: rate_distortion(part, split) for name, part in by_experiment(long).items()}, style)
    elif pivot is not None:
        _print_pivot(long, pivot, metrics or ("mae",), style, split)
    elif style == "latex":
        for name, part in by_experiment(long).items():
            found = judged(whole[whole["experiment"] == name], ablation_of(results, name), split, part)
            click.echo(f"% {name}\n{latex(part, found, split, metrics or ())}\n")
    elif style == "parquet":
        asked = metrics or ()
        _print_tables({name: wide_table(part, split, asked) for name, part in by_experiment(long).items()}, style)
    else:
        print_experiments(long, partial(ablation_of, results), style, split, metrics or (), whole)


def _pairs(where: tuple[str, ...]) -> dict[str, str]:
    for text in where:
        if "=" not in text:
            raise UsageError(f"--where {text}: write COLUMN=VALUE, such as --where levels=2.")
    return {name: value for name, _, value in (text.partition("=") for text in where)}


def _print_pivot(long: pd.DataFrame, axes: tuple[str, ...], metrics: tuple[str, ...], style: Any, split: str) -> None:
    from avq.cli.present import room
    from avq.reporting.render import text_table
    from avq.reporting.selection import label, pivot, shown

    if len(axes) != 2 or len(metrics) != 1 or style == "latex":
        raise UsageError("--pivot takes two axes (DOWN,ACROSS), one metric, and any format but latex.")
    table = pivot(long, *axes, metrics[0], split)
    if style in ("table", "markdown"):
        click.echo(f"{label(metrics[0], split)}\n\n{text_table(shown(table, metrics[0]), style, room())}")
    else:
        _print_whole(table, style)


def _print_tables(tables: Mapping[str, pd.DataFrame], style: Any) -> None:
    """One table per experiment for a person to read; a single one as csv, json or parquet."""
    from avq.cli.present import joined, room
    from avq.reporting.render import render

    if style in ("table", "markdown"):
        click.echo("\n\n".join(f"{name}\n\n{render(table, style, room())}" for name, table in tables.items()))
    else:
        _print_whole(joined(tables), style)


def _print_whole(table: pd.DataFrame, style: Any) -> None:
    from avq.reporting.render import render

    if style != "parquet":
        click.echo(render(table, style))
    elif sys.stdout.isatty():
        raise UsageError("parquet is not text: send it to a file, as in `... --format parquet > table.parquet`.")
    else:
        click.echo(table.to_parquet(index=False), nl=False)
