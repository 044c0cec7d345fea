"""Progress on stderr: bars on a terminal, an occasional plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

    from avq.tasks.events import Event, OnEvent

PLAIN_SECONDS = 15.0
_ALL_RUNS = "all runs"
_WORDS = {"start": "started", "finish": "finished", "fail": "FAILED", "wait": "waits", "stop": "stopped"}

Count = Callable[[str, int, int | None], None]
"""Called with what is counted, how many are done, and the total if it is known."""


@contextmanager
def showing_progress(stream: TextIO | None = None) -> Iterator[OnEvent]:
    """A listener that shows a sweep: with bars if `stream` (stderr) is a terminal, else with lines."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Lines()
        return
    from rich.console import Console

    bars = Bars(Console(file=stream))
    with bars.progress:
        yield bars


@contextmanager
def counting(unit: str) -> Iterator[Count]:
    """Show counts of a unit such as "images"."""
    if not sys.stderr.isatty():
        yield _count_in_lines(unit)
        return
    from rich.console import Console
    from rich.progress import TimeRemainingColumn

    with _progress(Console(file=sys.stderr), "count", TimeRemainingColumn()) as bars:
        known: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in known:
                known[name] = bars.add_task(name, count="")
            count = f"{done:,}/{total:,} {unit}" if total else f"{done:,} {unit}"
            bars.update(known[name], completed=done, total=total, count=count)

        yield show


def _count_in_lines(unit: str) -> Count:
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


def seconds(value: float | None) -> str:
    """A duration for a person to read: ``45 s``, ``3 min 20 s``, ``1 h 05 min``; ``?`` if unknown."""
    if value is None:
        return "?"
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def sentence(event: Event) -> str:
    """An event as one line."""
    if event.kind == "message":
        return event.text
    if event.kind == "costs":
        return f"[{event.done + 1}/{event.total}] {event.text}"
    reused = event.kind == "finish" and event.text.startswith("reused")
    more = event.text.removeprefix("reused").lstrip(" :,;") if reused else event.text
    count = f"[{event.done}/{event.total}] " if event.kind in ("finish", "fail") and event.total else ""
    return f"{count}{'reused' if reused else _WORDS[event.kind]} {event.run}" + (f": {more}" if more else "")


class Lines:
    """Every event as a line; progress of each run at most every `PLAIN_SECONDS`."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind != "progress":
            self._said[event.run] = now
            click.echo(sentence(event), err=True)
        elif now - self._said.get(event.run, 0.0) >= PLAIN_SECONDS and event.steps:
            self._said[event.run] = now
            rate = f", {event.images_per_s:.0f} images/s" if event.images_per_s else ""
            left = f", {seconds(event.seconds_left)} left" if event.seconds_left is not None else ""
            everything = event.total_seconds_left
            whole = f" (whole sweep: {seconds(everything)})" if everything is not None else ""
            click.echo(f"  {event.run}: step {event.step}/{event.steps}{rate}{left}{whole}", err=True)


class Bars:
    """A bar for each run in progress and one for the whole sweep, with images/s and the time left."""

    def __init__(self, console: Console) -> None:
        self.progress = _progress(console, "count", "rate", "left")
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "progress":
            self._advance(event)
        else:
            self.progress.console.print(sentence(event), markup=False, highlight=False, soft_wrap=True)
        if event.kind in ("finish", "fail", "stop") and event.run in self._tasks:
            self.progress.remove_task(self._tasks.pop(event.run))
        if event.total:
            self._count(event)

    def _advance(self, event: Event) -> None:
        self._update(
            event.run,
            total=event.steps or None,
            completed=event.step,
            count=f"{event.step}/{event.steps}" if event.steps else event.text,
            rate=f"{event.images_per_s:.0f} images/s" if event.images_per_s else "",
            left=seconds(event.seconds_left) if event.seconds_left is not None else "",
        )

    def _count(self, event: Event) -> None:
        left, costs = event.total_seconds_left, event.kind == "costs"
        self._update(
            _ALL_RUNS,
            description="costs" if costs else _ALL_RUNS,
            total=event.total,
            completed=event.done,
            count=f"{event.done}/{event.total}",
            **({"left": seconds(left) if left is not None else ""} if left is not None or costs else {}),
        )

    def _update(self, name: str, **fields: Any) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, count="", rate="", left="")
        self.progress.update(self._tasks[name], **fields)


def _progress(console: Console, *columns: str | ProgressColumn) -> Progress:
    """Bars between a description and columns, or texts by the names of their fields."""
    from rich.progress import BarColumn, Progress, TextColumn

    texts = (
        TextColumn(f"{{task.fields[{column}]}}", markup=False, justify="right") if isinstance(column, str) else column
        for column in columns
    )
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        *texts,
        console=console,
        expand=True,
        transient=True,  # what is to stay has been printed as lines
    )
