"""Small tables of plain rows, in every format, without pandas (lists must be quick)."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from avq.errors import printable

Row = Mapping[str, Any]

_NARROWEST = 16  # characters of a wrapped column


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
    """Columns side by side. On a terminal too narrow for them the widest are wrapped; one row a block, if need be."""
    import shutil
    import sys

    if not rows:
        return "(none)"
    columns = _columns(rows)
    lines = [[cell(row.get(name)) for name in columns] for row in rows]
    natural = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    if not sys.stdout.isatty():
        return _side_by_side(natural, [columns, ["-" * width for width in natural], *lines])
    room = shutil.get_terminal_size().columns
    widths = _fitted(natural, room - 2 * (len(columns) - 1))
    if min((width for width, whole in zip(widths, natural, strict=True) if width < whole), default=room) >= _NARROWEST:
        return _side_by_side(widths, [columns, ["-" * width for width in widths], *lines])
    names = max(map(len, columns))
    blocks = [[(name, text) for name, text in zip(columns, line, strict=True) if text] for line in lines]
    return "\n\n".join(_side_by_side([names, max(_NARROWEST, room - names - 2)], block) for block in blocks)


def _side_by_side(widths: Sequence[int], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(text for line in lines for text in _wrapped(widths, line))


def _wrapped(widths: Sequence[int], line: Sequence[str]) -> Iterator[str]:
    import textwrap

    cells = [textwrap.wrap(text, width, break_on_hyphens=False) for text, width in zip(line, widths, strict=True)]
    for parts in itertools.zip_longest(*cells, fillvalue=""):
        yield "  ".join(f"{part:<{width}}" for part, width in zip(parts, widths, strict=True)).rstrip()


def _fitted(widths: Sequence[int], room: int) -> list[int]:
    """Widths that have room together: narrow columns keep theirs, the others share what is left."""
    fitted = list(widths)
    for done, place in enumerate(sorted(range(len(widths)), key=lambda place: widths[place])):
        fitted[place] = min(widths[place], max(1, room // (len(widths) - done)))
        room -= fitted[place]
    return fitted
