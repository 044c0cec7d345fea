"""What a sweep is doing: bars on a terminal, an occasional plain line elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import click

if TYPE_CHECKING:
    from avq.tasks.events import Event

PLAIN_SECONDS = 15.0
_WORDS = {"start": "started", "finish": "finished", "fail": "FAILED", "wait": "waits", "stop": "stopped"}


class Listener(Protocol):
    """What `avq.run` calls with every event of a sweep."""

    def __call__(self, event: Event) -> None: ...


@contextmanager
def showing_progress(stream: TextIO | None = None) -> Iterator[Listener]:
    """A listener that shows a sweep: with bars where `stream` (stderr) is a terminal, with lines elsewhere."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Lines()
        return
    from rich.console import Console

    bars = Bars(Console(file=stream))
    with bars.progress:
        yield bars


def seconds(value: float | None) -> str:
    """A time a person can read: ``45 s``, ``3 min 20 s``, ``1 h 05 min``; ``?`` where unknown."""
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
    said = "reused" if event.kind == "finish" and event.text.startswith("reused") else _WORDS[event.kind]
    more = event.text.removeprefix("reused").lstrip(" :,;") if said == "reused" else event.text
    count = f"[{event.done}/{event.total}] " if event.kind in ("finish", "fail") and event.total else ""
    return f"{count}{said} {event.run}" + (f": {more}" if more else "")


class Lines:
    """Every event as a line; progress of each run at most every `PLAIN_SECONDS`."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if event.kind != "progress":
            self._said[event.run] = time.monotonic()
            click.echo(sentence(event), err=True)
        elif time.monotonic() - self._said.get(event.run, 0.0) >= PLAIN_SECONDS and event.steps:
            self._said[event.run] = time.monotonic()
            rate = f", {event.images_per_s:.0f} images/s" if event.images_per_s else ""
            left = f", {seconds(event.seconds_left)} left" if event.seconds_left is not None else ""
            everything = event.total_seconds_left
            whole = f" (whole sweep: {seconds(everything)})" if everything is not None else ""
            click.echo(f"  {event.run}: step {event.step}/{event.steps}{rate}{left}{whole}", err=True)


class Bars:
    """A bar a running run and one for the whole, with images/s and the time left."""

    def __init__(self, console: object) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn

        assert isinstance(console, Console)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False, justify="right"),
            TextColumn("{task.fields[rate]}", markup=False, justify="right"),
            TextColumn("{task.fields[left]}", markup=False, justify="right"),
            console=console,
            expand=True,
            transient=True,  # what is to stay has been printed as lines
        )
        self._total: TaskID | None = None
        self._bars: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "progress":
            self._advance(event)
        else:
            self.progress.console.print(sentence(event), markup=False, highlight=False, soft_wrap=True)
        if event.kind in ("finish", "fail", "stop") and event.run in self._bars:
            self.progress.remove_task(self._bars.pop(event.run))
        if event.total:
            self._count(event)

    def _advance(self, event: Event) -> None:
        if event.run not in self._bars:
            self._bars[event.run] = self.progress.add_task(event.run, count="", rate="", left="")
        self.progress.update(
            self._bars[event.run],
            total=event.steps or None,
            completed=event.step,
            count=f"{event.step}/{event.steps}" if event.steps else event.text,
            rate=f"{event.images_per_s:.0f} images/s" if event.images_per_s else "",
            left=seconds(event.seconds_left) if event.seconds_left is not None else "",
        )

    def _count(self, event: Event) -> None:
        if self._total is None:
            self._total = self.progress.add_task("", count="", rate="", left="")
        left = event.total_seconds_left
        if left is not None or event.kind == "costs":
            self.progress.update(self._total, left=seconds(left) if left is not None else "")
        self.progress.update(
            self._total,
            description="costs" if event.kind == "costs" else "all runs",
            total=event.total,
            completed=event.done,
            count=f"{event.done}/{event.total}",
        )
