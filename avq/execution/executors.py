"""Where a sweep's runs are carried out: this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from avq.errors import UsageError, unknown
from avq.execution.local import call_alone, execute, slots, start_server
from avq.execution.tally import Eta
from avq.machine import machine_name
from avq.tasks.events import OnEvent
from avq.tasks.job import Job, Outcome

EXECUTORS = ("local", "ray")


class Executor(Protocol):
    """What carries jobs out.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`: what the runs are planned for.
        machine: the hardware on which costs are measured, as `machine_name` returns it.
        workers: runs at once.
    """

    device: str
    machine: str
    workers: int

    def execute(
        self, jobs: Sequence[Job], on_event: OnEvent, eta: Eta | None, stop_at: float | None
    ) -> dict[str, Outcome]:
        """Carry jobs out, several at once, as `execute.execute`."""
        ...

    def alone(self, function: Callable[[Job], Any], job: Job) -> Any:
        """What a function of a job returns in a process of its own, with no other of this command beside it."""
        ...


class Local:
    """Processes of this machine: one a GPU, or one a core. UsageError for a device that is not there."""

    def __init__(self, device: str, workers: int | None) -> None:
        from avq.training.precision import resolve_device

        self.device = resolve_device(device)
        self._devices = slots(self.device, workers)
        self.workers = len(self._devices)
        self.machine = machine_name(self.device)

    def execute(
        self, jobs: Sequence[Job], on_event: OnEvent, eta: Eta | None, stop_at: float | None
    ) -> dict[str, Outcome]:
        return execute(jobs, self._devices, on_event, eta=eta, stop_at=stop_at)

    def alone(self, function: Callable[[Job], Any], job: Job) -> Any:
        return call_alone(function, replace(job, device=self._devices[0]))


@contextmanager
def opened(executor: str, address: str | None, device: str, workers: int | None) -> Iterator[Executor]:
    """The executor of that name, for as long as it is needed.

    Raises:
        UsageError: no such executor, device or cluster, or Ray is not installed.
    """
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "local":
        if address is not None:
            raise UsageError("--address is of a Ray cluster: give --executor ray too.")
        start_server()
        yield Local(device, workers)
        return
    from avq.execution.ray_cluster import connected
    from avq.execution.ray_executor import Cluster

    with connected(address):
        yield Cluster(device, workers)
