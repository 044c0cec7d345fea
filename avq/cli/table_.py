"""``avq-bench table``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from avq.cli import options


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@options.split
@options.table_format
def command(results: Path, split: str, style: str) -> None:
    """Print the table of RESULTS: a store, an experiment's folder in it, or a long-form CSV.

    Trained numbers are means over seeds, with the standard deviation between seeds. Rows obtained under
    different protocols are never put in one column (exit code 3).

    \b
    Examples:
      avq-bench table avq-runs
      avq-bench table avq-runs/experiments/ablation_levels-smoke-synthetic-faces --format json
      avq-bench table results/cpu/ablation_levels-small-cifar10.csv --format markdown
    """
    from avq import load_results
    from avq.cli.present import ablation_of, experiments_of, print_experiments

    long = load_results(results)
    print_experiments(experiments_of(long, partial(ablation_of, results)), style, split)
