"""Small tables of plain rows, in every format, without pandas (lists must be quick)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from avq.errors import printable

Row = Mapping[str, Any]


def print_rows(rows: Sequence[Row], style: str) -> None:
    """Print rows that share their keys; ``style`` is table, csv, json or markdown."""
    click.echo({"table": _table, "csv": _csv, "json": _json, "markdown": _markdown}[style](rows).rstrip("\n"))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that hold names of files: nothing in them moves the cursor, or fails to be encoded."""
    for line in lines:
        click.echo(printable(line))


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return str(value)


def _json(rows: Sequence[Row]) -> str:
    return json.dumps([dict(row) for row in rows], indent=2, default=str, ensure_ascii=False)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _markdown(rows: Sequence[Row]) -> str:
    columns = _columns(rows)
    lines = [columns, ["---"] * len(columns)]
    lines += [[cell(row.get(name)).replace("|", "\\|") for name in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _table(rows: Sequence[Row]) -> str:
    """Columns side by side; only the last is wrapped, and only on a terminal too narrow for it."""
    import shutil
    import sys
    import textwrap

    if not rows:
        return "(none)"
    columns = _columns(rows)
    texts = [[cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    room = 10_000
    if sys.stdout.isatty():
        room = max(30, shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1))
    indent = " " * (sum(widths[:-1]) + 2 * (len(widths) - 1))
    lines = []
    for line in [columns, ["-" * min(width, room) for width in widths], *texts]:
        *front, last = line
        head = "".join(f"{text:<{width}}  " for text, width in zip(front, widths, strict=False))
        first, *more = textwrap.wrap(last, room) or [""]
        lines += [(head + first).rstrip(), *(indent + text for text in more)]
    return "\n".join(lines)
