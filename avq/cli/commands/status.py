"""``avq-bench status``."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import Row, print_rows

if TYPE_CHECKING:
    from avq.run_status import RunStatus

_IN_PROGRESS = ("starting", "training", "evaluating")
_SECONDS = 2.0


@click.command()
@click.argument("store", type=options.FOLDER, default=Path("avq-runs"))
@click.option("--watch", is_flag=True, help="Refresh every two seconds, until no run is in progress or Ctrl-C.")
@options.table_format
def command(store: Path, watch: bool, style: str) -> None:
    """Show every run of STORE (default: avq-runs) and its state, from any terminal.

    Loss, MAE and perplexity (one number per level) are the last that its training measured on validation images.

    \b
    Examples:
      avq-bench status
      avq-bench status /big/disk/avq-runs --watch
    """
    from avq import status

    if watch and style != "table":
        raise click.UsageError("--watch shows a table; leave out --format.")
    runs = status(store)
    if style != "table":
        print_rows([asdict(run) for run in runs], style)
        return
    while watch and any(run.state in _IN_PROGRESS for run in runs):
        click.clear()
        _show(runs)
        time.sleep(_SECONDS)
        runs = status(store)
    if watch:
        click.clear()
    _show(runs)


def _show(runs: list[RunStatus]) -> None:
    print_rows([_row(run) for run in runs], "table")
    states = Counter(run.state for run in runs)
    click.echo("\n" + ", ".join(f"{count} {state}" for state, count in states.items()))


def _row(run: RunStatus) -> Row:
    from avq.cli.progress import seconds

    return {
        "run": run.run,
        "state": run.state,
        "step": f"{run.step}/{run.steps}" if run.steps else "",
        "images/s": f"{run.images_per_s:.0f}" if run.images_per_s else "",
        "left": seconds(run.seconds_left) if run.seconds_left is not None and run.state == "training" else "",
        "loss": f"{run.loss:.4f}" if run.loss is not None else "",
        "MAE": f"{run.validation_mae:.4f}" if run.validation_mae is not None else "",
        "perplexity": " / ".join(f"{value:.0f}" for value in run.perplexity),
        "seen": f"{seconds(time.time() - run.updated)} ago" if run.updated else "",
        "reason": run.reason,
    }
