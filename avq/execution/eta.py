"""When a running sweep will be over."""

from __future__ import annotations

from collections.abc import Sequence

from avq.design.run import Run
from avq.execution.tally import AtWork
from avq.tasks.evaluate import is_trained
from avq.tasks.forecast import Known, schedule
from avq.tasks.job import Job


class TimeLeft:
    """The time that a running sweep has left, from what is known of each model: predicted, then observed."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._seconds: dict[tuple[str, int], float | None] = {}
        self._trained: dict[Run, bool] = {}  # as it was when first asked for

    def seconds_left(self, waiting: Sequence[Job], active: Sequence[AtWork]) -> float | None:
        """Seconds until the last run is over; None while nothing is known of any model."""
        for item in active:
            if item.seconds_left is not None:
                self._seconds[self._key(item.job.run)] = item.elapsed + item.seconds_left
        known = [seconds for seconds in map(self._of, [job.run for job in waiting]) if seconds is not None]
        known += [seconds for seconds in self._seconds.values() if seconds is not None]
        if not known:
            return None
        mean = sum(known) / len(known)
        durations = [self._of(job.run) or mean for job in waiting]
        loads = [self._left(item, mean) for item in active]
        return schedule(durations, [*loads, *[0.0] * (self._known.workers - len(loads))])

    def _left(self, item: AtWork, mean: float) -> float:
        if item.seconds_left is not None:
            return item.seconds_left
        return max(0.0, (self._of(item.job.run) or mean) - item.elapsed)

    def _of(self, run: Run) -> float | None:
        key = self._key(run)
        if key not in self._seconds:
            self._seconds[key] = self._known.seconds(run, self._is_trained(run))
        return self._seconds[key]

    def _key(self, run: Run) -> tuple[str, int]:
        return self._known.tasks(run)[0].fingerprint, 0 if self._is_trained(run) else int(run.train["steps"])

    def _is_trained(self, run: Run) -> bool:
        if run not in self._trained:
            self._trained[run] = is_trained(self._known.store, run)
        return self._trained[run]
