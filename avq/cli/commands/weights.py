"""``avq-bench weights``."""

from __future__ import annotations

from pathlib import Path

import click

from avq.cli import options
from avq.cli.output import Row, print_rows


@click.group()
def command() -> None:
    """Fetch, add or check the weights of the networks that metrics use (LPIPS, FID and others).

    They are searched in --weights-dir, $AVQ_WEIGHTS_DIR, then torch hub's cache; the first of these that is set
    receives what is fetched or added. A file is used only if its sha256 is the registered one.

    \b
    Examples:
      avq-bench list weights
      avq-bench weights fetch squeezenet1_1
      avq-bench weights add ~/Downloads/squeezenet1_1-b8a52dc0.pth --weights-dir weights
    """


@command.command()
@click.argument("names", nargs=-1)
@options.weights_target
def fetch(names: tuple[str, ...]) -> None:
    """Download weights by NAME; without a NAME, all that are missing."""
    from avq.metrics import fetching
    from avq.metrics.weights import REGISTRY, available, find_weights, get_weights

    entries = [get_weights(name) for name in names or REGISTRY]
    here = available()
    for entry in entries:
        if entry.name in here:
            click.echo(f"{entry.name}: already in {find_weights(entry.name)}")
            continue
        known = fetching.fetched_file(entry)
        with click.progressbar(length=known.size, label=f"{entry.name} ({known.size / 1e6:.0f} MB)") as bar:
            path = fetching.fetch(entry.name, bar.update)
        click.echo(f"{entry.name}: verified, in {path}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@options.weights_target
def add(file: Path) -> None:
    """Copy FILE to the folder for weights; its content identifies it."""
    from avq.metrics import fetching

    name, path = fetching.add(file)
    click.echo(f"{name}: verified, in {path}")


@command.command()
@options.weights_dir
@options.table_format
def check(style: str) -> None:
    """Read every file of weights and compare its sha256; exit code 1 if one is damaged."""
    from avq.errors import AvqError
    from avq.metrics.weights import REGISTRY, look

    rows: list[Row] = []
    for name in REGISTRY:
        found = list(look(name))
        rows += [{"name": name, "state": one.state, "file": str(one.path)} for one in found]
        rows += [] if found else [{"name": name, "state": "missing", "file": ""}]
    print_rows(rows, style)
    damaged = [str(row["file"]) for row in rows if row["state"] == "damaged"]
    if damaged:
        raise AvqError(
            f"content does not match the name: {', '.join(damaged)}; delete it, then `avq-bench weights fetch`"
        )
