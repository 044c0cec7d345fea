"""What `evaluate` and `score` share: how their rows are labelled, printed and saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import print_rows
from avq.cli.progress import counting

if TYPE_CHECKING:
    from avq.metrics.measurement import Measurement
    from avq.store.outside import Label

labels = options.stacked(
    click.option("--name", metavar="LABEL", help="The row's label in a table."),
    click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of its training, as a label."),
    click.option(
        "--output",
        type=options.FILE,
        metavar="FILE.csv",
        help="Long-form results to add the rows to; created if missing (avq-bench table FILE.csv).",
    ),
)


def report(measurements: Sequence[Measurement], label: Label, style: str, output: Path | None) -> None:
    """Print the measurements (csv and json in long form, floats with every digit), and add them to a file."""
    from avq.metrics.format import format_value
    from avq.store.outside import add_rows, check_target, long_frame
    from avq.store.record import to_csv

    frame = long_frame(measurements, label)
    if output is not None:
        add_rows(output, frame, check_target(output, label))
    if style == "csv":
        click.echo(to_csv(frame), nl=False)
    elif style == "json":
        cells = frame.astype(object).where(frame.notna(), None).to_dict("records")
        click.echo(json.dumps(cells, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        lines = [
            {"metric": row.metric, "level": row.level, "value": format_value(row.metric, row.value), "unit": row.unit,
             "stderr": row.stderr, "n": row.n, "note": row.reason}
            for row in measurements
        ]  # fmt: skip
        print_rows(lines, style)
    if output is not None:
        click.echo(f"\nadded {len(frame)} rows to {output}", err=style != "table")


def echo_notes(notes: Sequence[str]) -> None:
    """Say what a person should know of the measurement, beside it."""
    for note in notes:
        click.echo(f"Note: {note}", err=True)


@contextmanager
def measuring(images: int) -> Iterator[Callable[[int], None]]:
    """Show how many of the images are measured."""
    with counting("images") as count:
        yield lambda done: count("measuring", done, images)
