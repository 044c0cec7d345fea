"""``avq-bench list``."""

from __future__ import annotations

import click

from avq.cli import options
from avq.cli.catalogue import KINDS
from avq.cli.output import print_rows


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)), required=False)
@options.cards
@options.plugin
@options.table_format
def command(kind: str | None, style: str) -> None:
    """List the names of one KIND, or of all kinds, with a line each.

    \b
    Examples:
      avq-bench list variants
      avq-bench list settings --format markdown
    """
    if kind is not None:
        print_rows(KINDS[kind]().rows, style)
        return
    every = [(name, dict(row)) for name, load in KINDS.items() for row in load().rows]
    # The last column of each kind is its description.
    print_rows([{"kind": name, "name": row["name"], "summary": list(row.values())[-1]} for name, row in every], style)
