"""What happens while tasks are carried out, for bars and logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Event:
    """What happens during a sweep, for bars and logs.

    Attributes:
        kind: `message` (text only), `start`, `progress`, `finish`, `fail`, `wait` (another command
            has the run), `stop` (the time is over), `costs` (the isolated benchmark of a model).
        run: the run's name; empty for messages.
        text: one line for a person.
        done: runs that are over.
        total: runs of this command.
        step: of `steps`.
        seconds_left: of this run.
        total_seconds_left: of the whole sweep; None while unknown.
    """

    kind: Literal["message", "start", "progress", "finish", "fail", "wait", "stop", "costs"]
    run: str = ""
    text: str = ""
    done: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    images_per_s: float | None = None
    loss: float | None = None
    seconds_left: float | None = None
    total_seconds_left: float | None = None


OnEvent = Callable[[Event], None]
