"""``avq-bench table``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options

if TYPE_CHECKING:
    from avq.experiments.ablation import Ablation


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
    from avq.cli.present import experiments_of, print_experiments

    long = load_results(results)
    print_experiments(experiments_of(long, partial(_ablation_of, results)), style, split)


def _ablation_of(results: Path, experiment: str) -> Ablation | None:
    """The ablation that declared an experiment's contrasts: as the store kept it, else the shipped one of that name."""
    from avq.experiments.ablation import Ablation, list_ablations, load_ablation
    from avq.experiments.store import read_json

    for folder in (results / "experiments" / experiment, results):
        kept = read_json(folder / "plan.json").get("ablation")
        if kept is not None:
            return Ablation(**kept)
    shipped = [name for name in list_ablations() if experiment.startswith(f"{name}-")]
    return load_ablation(max(shipped, key=len)) if shipped else None
