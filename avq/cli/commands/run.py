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
@options.table_format
def command(ablation: str, style: str, **chosen: Any) -> None:
    """Train every run of ABLATION (a name or a .toml file) that is not in the store yet, then print its table.

    A run that is finished is never trained again, and one that was stopped goes on; changed code means a new
    run. The screen says which runs were reused and which were trained again, and why.

    \b
    Examples:
      avq-bench run ablation_levels
      avq-bench run ablation_levels --preset small --dataset cifar10 --data-root ../shared/data
      avq-bench run ablation_levels --only aren-1,aren-1-rpa --seeds 0,4,7 --set steps=500
    """
    from avq.cli.sweep import Request, carry_out
    from avq.design.ablation import load_ablation

    loaded = load_ablation(Path(ablation) if ablation.endswith(".toml") else ablation)
    carry_out(loaded, Request(**chosen), style, f"run {ablation}")
