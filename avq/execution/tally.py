"""The tally of a sweep: what every executor says and remembers while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from avq.errors import AvqError, Stopped
from avq.files import DiskError
from avq.store.layout import Store, read_progress
from avq.tasks.events import Event, OnEvent
from avq.tasks.job import Job, Outcome


class AtWork(Protocol):
    """A job that a process carries out; `seconds_left` as it last told."""

    job: Job
    seconds_left: float | None

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        ...


Eta = Callable[[Sequence[Job], Sequence[AtWork]], float | None]
"""Seconds left of the whole, from the jobs that wait and those at work."""


@dataclass
class Tally:
    """The outcomes of a sweep's jobs, reported as they come.

    Attributes:
        jobs: those of the sweep.
        on_event: is called with every event.
        stop_at: when to start no more of them, in seconds since the epoch; those at work stop by themselves.
        outcomes: `done` or `failed` of every run that is over, by its name.
    """

    jobs: Sequence[Job]
    on_event: OnEvent
    stop_at: float | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)
    _waits: set[str] = field(default_factory=set)
    _over: bool = False

    def is_over(self) -> bool:
        """Whether no job is to be started any more: the time is over, here or by the clock of one that stopped."""
        self._over = self._over or (self.stop_at is not None and time.time() >= self.stop_at)
        return self._over

    def start(self, job: Job, text: str = "") -> None:
        """Tell that a job is at work: once, however often it is tried."""
        if job.name not in self._started:
            self._started.add(job.name)
            self._tell("start", job, text=text)

    def settle(self, job: Job, outcome: Outcome) -> bool:
        """Take in how a job ended; False where it is to be tried again later: another command has its run, or the
        time was over.

        Raises:
            DiskError: the store takes nothing more.
        """
        if outcome.kind == "disk":
            raise DiskError(outcome.text)
        if outcome.kind == "stopped":
            self._over = True
            self._tell("stop", job, text=outcome.text)
            return False
        if outcome.kind == "busy":
            if job.name not in self._waits:
                self._waits.add(job.name)
                self._tell("wait", job, text="another command is training it")
            return False
        self.outcomes[job.name] = outcome
        self._tell("finish" if outcome.kind == "done" else "fail", job, text=outcome.text)
        return True

    def progress(self, item: AtWork, total_seconds_left: Callable[[], float | None]) -> None:
        """Tell how far a job is, where its process has said so in the store."""
        state = read_progress(Store(item.job.root).folder(item.job.run))
        if state.get("state") in (None, "done", "failed"):
            return
        item.seconds_left = state.get("seconds_left")
        self._tell(
            "progress",
            item.job,
            text=state["state"],
            step=state.get("step", 0),
            steps=state.get("steps", 0),
            images_per_s=state.get("images_per_s"),
            loss=state.get("loss"),
            seconds_left=item.seconds_left,
            total_seconds_left=total_seconds_left(),
        )

    def stopped(self) -> AvqError:
        """The line for an interruption from the keyboard."""
        return AvqError(self._said("stopped"))

    def out_of_time(self) -> Stopped:
        """The line for a time that is over before all jobs are."""
        return Stopped(self._said("the time is over"))

    def _said(self, why: str) -> str:
        again = " without --fresh" if any(job.fresh for job in self.jobs) else ""
        kept = f"{len(self.outcomes)} of {len(self.jobs)} runs are finished; begun ones are resumed"
        return f"{why}; {kept}: give the same command again{again} to resume."

    def _tell(self, kind: Any, job: Job, **more: Any) -> None:
        self.on_event(Event(kind, job.name, done=len(self.outcomes), total=len(self.jobs), **more))
