"""What `evaluate` and `score` share: how their rows are labelled, printed and kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.output import Row, print_rows

if TYPE_CHECKING:
    from avq.metrics.measurement import Measurement
    from avq.store.outside import Label

_name = click.option("--name", metavar="LABEL", help="The row's label in a table.")
_output = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="Long-form results to add the rows to; made where there is none (avq-bench table FILE.csv).",
)
_seed = click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of its training, as a label.")
labels = options.stacked(_name, _seed, _output)


def report(measurements: Sequence[Measurement], label: Label, style: str, output: Path | None) -> None:
    """Print the measurements (csv and json in long form, floats with every digit), and add them to a file."""
    from avq.store.outside import add_rows, check_target, long_frame, long_rows

    rows = long_rows(measurements, label)
    if output is not None:
        add_rows(output, rows, check_target(output, label))
    if style == "csv":
        from avq.store.record import to_csv

        click.echo(to_csv(long_frame(rows)), nl=False)
    elif style == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_rows([_line(row) for row in measurements], style)
    if output is not None:
        click.echo(f"\nadded {len(rows)} rows to {output}", err=style != "table")


def _line(row: Measurement) -> Row:
    from avq.metrics.format import format_value

    return {
        "metric": row.metric,
        "level": row.level,
        "value": format_value(row.metric, row.value),
        "unit": row.unit,
        "stderr": row.stderr,
        "n": row.n,
        "note": row.reason,
    }


@contextmanager
def counting(images: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that counts images, where a person sees it."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    bar: Any
    with click.progressbar(length=images, label="measuring", file=sys.stderr, show_pos=True) as bar:
        yield lambda done: bar.update(done - bar.pos)
