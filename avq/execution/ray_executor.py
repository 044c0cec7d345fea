"""The Ray executor: a sweep's runs as tasks of a cluster whose nodes all see the store.

A task watches over a process of its own, as the local executor does, so that records and what a crash leaves are
the same. What a node's death interrupts is tried elsewhere and resumes from the checkpoint in the run's folder; the
run's lock, which dies with its process, keeps a node that was only believed dead from training beside it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avq.data.roots import ENVIRONMENT_VARIABLE
from avq.errors import AvqError, UsageError
from avq.execution.local import BUSY_SECONDS, POLL_SECONDS, ProcessDied
from avq.execution.ray_cluster import Resources, fits, nodes, nowhere, slots_of
from avq.execution.ray_task import Lost, NodeGone, WrongNode, cancel, home_of, marked, next_word, result, watch_over
from avq.execution.tally import Eta, Tally
from avq.machine import machine_name
from avq.store.layout import Store, read_progress
from avq.tasks.carry_out import fail, run_task
from avq.tasks.events import Event, OnEvent
from avq.tasks.forecast import Known, measure
from avq.tasks.job import Job, Outcome

DEATHS = 3  # in a row, of a run that came no step further: then it is the run
_MEMORY_SPARE = 1.25  # over what was measured: evaluation and images of other sizes
_MEMORY_WATCHER = 600.0  # MiB of the task that watches, and of the server that its processes are forked from
_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_WITHOUT_NODE = 60.0  # a node that is started anew is given that long


@dataclass
class Flight:
    """A job that Ray has; `node` is empty until it is at work, `began` then its start."""

    job: Job
    need: Resources
    began: float
    node: str = ""
    seconds_left: float | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began


class Cluster:
    """Ray's nodes as an `Executor`; needs a connection (`ray_cluster.connected`).

    Args:
        device: `auto` is `cuda` where a node has a GPU, else `cpu`.
        workers: runs at once; by default as many as fit.

    Raises:
        UsageError: no node can carry out any run.
    """

    def __init__(self, device: str, workers: int | None) -> None:
        import ray

        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"Ray gives every run its GPU: --device cuda or cpu, not {device}.")
        gpu = device == "cuda" or (device == "auto" and any(node["Resources"].get("GPU") for node in nodes()))
        self.device = "cuda" if gpu else "cpu"
        self._need: dict[str, float] = {"CPU": 1.0, "GPU": 1.0} if gpu else {"CPU": 1.0}
        self._gone: set[str] = set()  # on which a task was lost that had been asked for there
        suitable = self._suitable()
        if not suitable:
            raise UsageError(nowhere("a run", self._need))
        self.workers = min(slots_of(self._need), workers or sys.maxsize)
        self.limit = workers or sys.maxsize  # Ray is given all jobs, so that a cluster that grows knows by how much
        # One worker a GPU task: its forked processes keep the GPU that they first saw.
        self._task: Any = ray.remote(num_cpus=1, num_gpus=int(gpu), max_calls=int(gpu), max_retries=0)(watch_over)
        self._quiet_node = suitable[0]  # costs of all models are measured on the same node
        self.machine = self._machine_of(suitable[0])

    def execute(
        self,
        jobs: Sequence[Job],
        on_event: OnEvent,
        eta: Eta | None,
        stop_at: float | None,
        function: Callable[[Job], Outcome] = run_task,
    ) -> dict[str, Outcome]:
        """Carry jobs out, as `local.execute`; each asks Ray for the main memory that was predicted.

        Raises:
            UsageError: no node can carry out a job.
            Stopped: the time is over, and runs are left.
            AvqError: no node that can is left, the disk takes nothing more, or the user stopped it.
        """
        if not jobs:
            return {}
        with marked(jobs[0].root) as mark:
            placed = [self._placed(job) for job in jobs]
            needs = self._needs(placed, mark, on_event)
            for job in placed:
                if not any(fits(needs[job.name], node) for node in nodes()):
                    raise UsageError(nowhere(job.name, needs[job.name]))
            return _Flights(self, mark, Tally(jobs, on_event, stop_at), eta, function).carry_out(placed, needs)

    def alone(self, function: Callable[[Job], Any], job: Job) -> Any:
        with marked(job.root) as mark:
            for _ in range(DEATHS - 1):
                node = self._quiet()
                try:
                    return self._alone_on(node, function, job, mark)
                except NodeGone:
                    self._gone.add(node)
            return self._alone_on(self._quiet(), function, job, mark)

    def _alone_on(self, node: str, function: Callable[[Job], Any], job: Job, mark: Path) -> Any:
        generator = self.task(job, {}, self._on(node)).remote(self._placed(job), function, home_of(job, mark))
        try:
            return result(generator)
        finally:
            cancel(generator)

    def task(self, job: Job, need: Resources, strategy: Any = "SPREAD") -> Any:
        """The remote function for a job: it asks for what the job needs, and for a node that is less busy."""
        memory = {"memory": int(need["memory"])} if "memory" in need else {}
        return self._task.options(name=job.name, num_returns="streaming", scheduling_strategy=strategy, **memory)

    def _suitable(self) -> list[str]:
        """The ids of the nodes that can carry out a run; the cluster may name one for a while after it died."""
        return [node for one in nodes() if fits(self._need, one) and (node := str(one["NodeID"])) not in self._gone]

    def _machine_of(self, node: str) -> str:
        import ray

        gpus = int("GPU" in self._need)
        ask: Any = ray.remote(num_cpus=1, num_gpus=gpus, scheduling_strategy=self._on(node))(machine_name)
        return str(ray.get(ask.remote(self.device)))

    def _quiet(self) -> str:
        """The node on which costs are measured, or another of the same hardware where that one died."""
        there = self._suitable()
        if self._quiet_node not in there:
            same = [node for node in there if self._is_same(node)]
            if not same:
                raise AvqError(f"the cluster lost its node with {self.machine}, where costs are measured")
            self._quiet_node = same[0]
        return self._quiet_node

    def _is_same(self, node: str) -> bool:
        """Whether a node is of the hardware that costs are measured on; not where it died unnoticed until now."""
        from ray.exceptions import RayError

        try:
            return self._machine_of(node) == self.machine
        except RayError:
            return False

    @staticmethod
    def _on(node: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node, soft=False)

    def _placed(self, job: Job) -> Job:
        """The job as any node understands it: absolute paths, and what this command's environment says."""
        root = job.data_root or (Path(named) if (named := os.environ.get(ENVIRONMENT_VARIABLE)) else None)
        device = "cuda:0" if self.device == "cuda" else "cpu"  # the first of those that Ray lets it see
        return replace(job, root=job.root.absolute(), data_root=root.absolute() if root else None, device=device)

    def _needs(self, jobs: Sequence[Job], mark: Path, on_event: OnEvent) -> dict[str, Resources]:
        """What each job asks for, by its run's name; memory as `plan` measures it, here on the cluster."""
        known = Known(Store(jobs[0].root), self.machine, self.workers)

        def call_all(
            function: Callable[[Job], Any], some: Sequence[Job], _devices: Sequence[str]
        ) -> Generator[Any, None, None]:
            generators = [self.task(job, {}).remote(job, function, home_of(job, mark)) for job in some]
            try:
                for generator in generators:
                    try:
                        yield result(generator)
                    except WrongNode:
                        raise
                    except AvqError as error:
                        yield error
            finally:
                for generator in generators:
                    cancel(generator)

        try:
            measure(known, jobs, [self.device] * self.workers, on_event, call_all)
        except (WrongNode, KeyboardInterrupt):
            raise
        except AvqError as error:
            on_event(Event("message", text=f"{error}; Ray is not asked for the memory that it needs"))
        needs: dict[str, Resources] = {}
        for job in jobs:
            memory = known.memory(job.run)
            asked = {} if memory is None else {"memory": (memory * _MEMORY_SPARE + _MEMORY_WATCHER) * 2**20}
            needs[job.name] = self._need | asked
        return needs


class _Flights:
    """The jobs of one `execute`: which wait, which Ray has, and how often each was lost."""

    def __init__(
        self, cluster: Cluster, mark: Path, tally: Tally, eta: Eta | None, function: Callable[[Job], Outcome]
    ) -> None:
        self.cluster, self.mark, self.tally, self.eta, self.function = cluster, mark, tally, eta, function
        self.waiting: list[Job] = []
        self.flights: dict[Any, Flight] = {}
        self.retry_at: dict[str, float] = {}
        self.deaths: dict[str, int] = {}
        self.furthest: dict[str, int] = {}

    def carry_out(self, jobs: Sequence[Job], needs: dict[str, Resources]) -> dict[str, Outcome]:
        import ray

        self.waiting = list(jobs)
        looked, fitted = time.monotonic(), time.monotonic()
        try:
            while self.waiting or self.flights:
                if not self.tally.is_over():
                    self._submit(needs)
                elif not self._recall():
                    raise self.tally.out_of_time()
                if not self.flights:
                    time.sleep(POLL_SECONDS)
                    continue
                flying = list(self.flights)
                ready, _ = ray.wait(flying, num_returns=len(flying), timeout=POLL_SECONDS, fetch_local=False)
                for generator in ready:
                    self._take(generator)
                for flight in self.flights.values():
                    if flight.node:
                        self.tally.progress(flight, self._seconds_left)
                if time.monotonic() - looked > _SECONDS_BETWEEN_LOOKS:
                    looked = time.monotonic()
                    lost = [flight for flight in self.flights.values() if self._is_nowhere(flight)]
                    fitted = fitted if lost else looked
                    if looked - fitted > _SECONDS_WITHOUT_NODE:
                        raise AvqError(f"{nowhere(lost[0].job.name, lost[0].need)} Finished runs are stored.")
        except KeyboardInterrupt:
            raise self.tally.stopped() from None
        finally:
            for generator in self.flights:
                cancel(generator)
        return self.tally.outcomes

    def _submit(self, needs: dict[str, Resources]) -> None:
        now = time.monotonic()
        ready = [job for job in self.waiting if self.retry_at.get(job.name, 0) <= now]
        for job in ready[: max(0, self.cluster.limit - len(self.flights))]:
            self.waiting.remove(job)
            need = needs[job.name]
            generator = self.cluster.task(job, need).remote(job, self.function, home_of(job, self.mark))
            self.flights[generator] = Flight(job, need, now)

    def _recall(self) -> int:
        """Take back the jobs that are not at work yet; returns how many are."""
        for generator in [generator for generator, flight in self.flights.items() if not flight.node]:
            cancel(generator)
            self.waiting.append(self.flights.pop(generator).job)
        return len(self.flights)

    def _take(self, generator: Any) -> None:
        """Take in what a task yields next: where it is at work, or how its job ended."""
        flight = self.flights[generator]
        try:
            value = next_word(generator)
        except Lost as error:
            value = error
        if isinstance(value, str):
            flight.node, flight.began = value, time.monotonic()
            self.tally.start(flight.job, f"on {value}")
            return
        del self.flights[generator]
        if isinstance(value, WrongNode):
            raise value
        if isinstance(value, (Lost, ProcessDied)) and self._may_resume(flight.job):
            where = f" on {flight.node}" if flight.node else ""
            text = f"lost {flight.job.name}{where} ({value}); it resumes from its last checkpoint"
            self.tally.on_event(Event("message", text=text))
            state = read_progress(Store(flight.job.root).folder(flight.job.run)).get("state")
            begun = state in ("starting", "training", "evaluating")  # so what was there before is forgotten already
            self._later(replace(flight.job, fresh=flight.job.fresh and not begun))
            return
        outcome = fail(flight.job, str(value)) if isinstance(value, AvqError) else value
        if not self.tally.settle(flight.job, outcome):
            self._later(flight.job)

    def _may_resume(self, job: Job) -> bool:
        """Whether a job that was lost is tried again: not where it was lost time and again at the same step."""
        name = job.name
        step = int(read_progress(Store(job.root).folder(job.run)).get("step", 0))
        further = step > self.furthest.get(name, -1)
        self.furthest[name] = max(step, self.furthest.get(name, -1))
        self.deaths[name] = 1 if further else self.deaths[name] + 1
        return self.deaths[name] < DEATHS

    def _later(self, job: Job) -> None:
        self.retry_at[job.name] = time.monotonic() + BUSY_SECONDS
        self.waiting.append(job)

    def _is_nowhere(self, flight: Flight) -> bool:
        return not flight.node and not any(fits(flight.need, node) for node in nodes())

    def _seconds_left(self) -> float | None:
        at_work = [flight for flight in self.flights.values() if flight.node]
        queued = [flight.job for flight in self.flights.values() if not flight.node]
        return self.eta([*self.waiting, *queued], at_work) if self.eta else None
