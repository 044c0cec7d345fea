"""How far a count has got: a bar on a terminal, an occasional plain line elsewhere. On stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from avq.cli.progress import PLAIN_SECONDS, seconds

Count = Callable[[str, int, int | None], None]
"""Called with what is counted, how many are done, and how many there are where that is known."""


@contextmanager
def counting(unit: str) -> Iterator[Count]:
    """Show counts of a unit such as "images"."""
    if not sys.stderr.isatty():
        yield _lines(unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[count]}", markup=False),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bars:
        known: dict[str, int] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in known:
                known[name] = int(bars.add_task(name, count=""))
            count = f"{done:,}/{total:,} {unit}" if total else f"{done:,} {unit}"
            bars.update(known[name], completed=done, total=total, count=count)  # type: ignore[arg-type]

        yield show


def _lines(unit: str) -> Count:
    began = said = time.monotonic()
    first: dict[str, int] = {}

    def say(name: str, done: int, total: int | None) -> None:
        nonlocal said
        now = time.monotonic()
        begun = first.setdefault(name, done)
        if now - said < PLAIN_SECONDS:
            return
        said = now
        rate = (done - begun) / (now - began)
        left = f", {seconds((total - done) / rate)} left" if total and rate else ""
        click.echo(f"  {name}: {done:,}{f'/{total:,}' if total else ''} {unit}, {rate:,.0f}/s{left}", err=True)

    return say
