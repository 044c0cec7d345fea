"""``avq-bench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from avq.cli import options


@click.command()
@click.argument("ablation")
@options.choice
@options.execution
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be trained, and start nothing.")
@options.table_format
def command(ablation: str, style: str, dry_run: bool, **chosen: Any) -> None:
    """Train every run of ABLATION (a name or a .toml file) that the store does not have yet, then print its table.

    A finished run is never trained again, and a stopped one is resumed; changed code means a new run. The screen
    says which runs were reused and which were trained again, and why.

    \b
    Examples:
      avq-bench run ablation_levels
      avq-bench run ablation_levels --preset small --dataset cifar10 --data-root ../shared/data
      avq-bench run ablation_levels --only aren-1,aren-1-rpa --seeds 0,4,7 --set steps=500
    """
    from avq.cli.sweep import carry_out, say_what_is_to_do
    from avq.design.ablation import load_ablation

    loaded = load_ablation(Path(ablation) if ablation.endswith(".toml") else ablation)
    if dry_run:
        say_what_is_to_do(loaded, chosen)
        return
    carry_out(loaded, f"run {ablation}", style, chosen)
