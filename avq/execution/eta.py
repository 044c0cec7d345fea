"""When a running sweep will be over."""

from __future__ import annotations

from collections.abc import Sequence

from avq.design.plan import Run
from avq.execution.events import AtWork
from avq.store.layout import Store
from avq.tasks.forecast import model_cost, run_seconds, schedule
from avq.tasks.job import Job, is_trained


class Forecast:
    """The time that a running sweep has left, from what is known of each model: predicted, then observed."""

    def __init__(self, store: Store, machine: str, workers: int) -> None:
        self._store, self._machine, self._workers = store, machine, workers
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
        return schedule(durations, [*loads, *[0.0] * (self._workers - len(loads))])

    def _left(self, item: AtWork, mean: float) -> float:
        if item.seconds_left is not None:
            return item.seconds_left
        return max(0.0, (self._of(item.job.run) or mean) - item.elapsed)

    def _of(self, run: Run) -> float | None:
        key = self._key(run)
        if key not in self._seconds:
            cost = model_cost(self._store, run, self._machine, self._workers)
            self._seconds[key] = run_seconds(run, cost, self._is_trained(run)) if cost else None
        return self._seconds[key]

    def _key(self, run: Run) -> tuple[str, int]:
        return run.model_id, 0 if self._is_trained(run) else int(run.train["steps"])

    def _is_trained(self, run: Run) -> bool:
        if run not in self._trained:
            self._trained[run] = is_trained(self._store, run)
        return self._trained[run]
