"""The local executor: one process a run, several one-thread runs side by side.

Processes are forked from a server that has torch loaded (its import takes seconds), so that one run's crash
or peak memory is not another's. On a CPU several one-thread runs use the cores better than one run with many
threads, and runs that share cores with several threads each ruin one another; so a worker has one thread.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from typing import Any

from avq.errors import AvqError
from avq.execution.tally import Eta, Tally
from avq.machine import cores
from avq.models.quantizers.registry import QUANTIZERS
from avq.tasks.carry_out import fail, run_task
from avq.tasks.events import OnEvent
from avq.tasks.job import Job, Outcome

# All that runs use, so that an edit during a sweep changes no run that is still to start.
PRELOAD = [
    "torch",
    "torch._dynamo",  # every optimiser imports it: 1.6 s a run
    "torch.utils.flop_counter",
    "lpips",
    "torch_fidelity.metric_kid",
    "pandas",
    "avq.data.sources",
    "avq.models.attention",
    "avq.models.autoencoder",
    "avq.models.patch_kmeans",
    *sorted({entry.factory.partition(":")[0] for entry in QUANTIZERS.values()}),
    "avq.profiling.cost",
    "avq.evaluation.evaluate",
    "avq.profiling.scaling",
    "avq.training.trainer",
    "avq.profiling.few_steps",
]
POLL_SECONDS = 0.25
BUSY_SECONDS = 1.0


def slots(device: str, workers: int | None) -> list[str]:
    """The device of every worker: one a GPU, else one a core; `workers` caps or sets their number."""
    if device == "cuda":
        import torch

        gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        return gpus[:workers] if workers else gpus
    if device.startswith("cuda"):
        return [device] * (workers or 1)
    return [device] * (workers or cores())


def start_server() -> None:
    """Start what processes are forked from, so that it loads what they need while this process has other work."""
    _context()
    with _main_module_hidden():
        forkserver.ensure_running()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


class Process:
    """A function call in a process of its own that dies with this one and leaves its result in a pipe."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        context = _context()
        self._pipe: Connection
        self._pipe, ours = context.Pipe(duplex=False)
        self.process = context.Process(target=_child, args=(ours, function, arguments), daemon=True)
        with _main_module_hidden():
            self.process.start()
        ours.close()

    @property
    def sentinel(self) -> int:
        return self.process.sentinel

    def result(self) -> Any:
        """What the function returned; waits for it.

        Raises:
            ProcessDied: it ended without returning.
        """
        try:
            value = self._pipe.recv()
        except EOFError:
            value = None
        self.process.join()
        self._pipe.close()
        if value is None:
            raise ProcessDied(_death(self.process.exitcode))
        if isinstance(value[0], BaseException):
            raise value[0]
        return value[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()


class ProcessDied(AvqError):
    """A process ended by a signal or an exit, not by returning."""


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "; out of memory? fewer --workers or a smaller batch_size need less" if -code == signal.SIGKILL else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {code}"


def _child(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        value: Any = function(*arguments)
    except AvqError as error:
        value = error
    except Exception as error:
        value = AvqError(f"{type(error).__name__}: {error}")
    pipe.send((value,))
    pipe.close()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep children from importing the caller's script: nothing that they run is defined there.

    Without it, `avq.run(...)` in a script without a `__name__ == "__main__"` guard would start itself again.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name, None) for name in ("__file__", "__spec__")}
    main.__spec__ = None
    main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            if value is not None:
                setattr(main, name, value)


@dataclass
class Active:
    """A job at work; `seconds_left` as its process last reported."""

    job: Job
    process: Process
    slot: str
    began: float
    seconds_left: float | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began


def execute(
    jobs: Sequence[Job],
    devices: Sequence[str],
    on_event: OnEvent,
    *,
    eta: Eta | None = None,
    function: Callable[[Job], Outcome] = run_task,
    stop_at: float | None = None,
) -> dict[str, Outcome]:
    """Carry out jobs, one on every device at a time.

    Args:
        jobs: in the order in which they are to start; their own `device` gives way to the worker's.
        devices: one per worker.
        on_event: is called with every event, from this thread.
        eta: seconds left of the whole.
        function: what a process does with its job.
        stop_at: when to start no more of them, in seconds since the epoch; those at work stop by themselves.

    Returns:
        The outcome (`done` or `failed`) of every run, by its name.

    Raises:
        DiskError: the store takes nothing more; runs in progress are stopped.
        Stopped: the time is over, and runs are left.
        AvqError: interrupted from the keyboard.
    """
    waiting = list(jobs)
    active: list[Active] = []
    free = list(devices)
    retry_at: dict[str, float] = {}
    tally = Tally(jobs, on_event, stop_at)
    try:
        while waiting or active:
            over = tally.is_over()
            if over and not active:
                raise tally.out_of_time()
            now = time.monotonic()
            ready = [job for job in waiting if retry_at.get(job.name, 0) <= now]
            for job in [] if over else ready[: len(free)]:
                waiting.remove(job)
                slot = free.pop(0)
                placed = replace(job, device=slot)
                active.append(Active(job, Process(function, placed), slot, now))
                tally.start(job)
            wait([item.process.sentinel for item in active], POLL_SECONDS)
            for item in [item for item in active if not item.process.process.is_alive()]:
                active.remove(item)
                free.append(item.slot)
                if not tally.settle(item.job, _outcome(item)):
                    retry_at[item.job.name] = time.monotonic() + BUSY_SECONDS
                    waiting.append(item.job)
            for item in active:
                tally.progress(item, lambda: eta(waiting, active) if eta else None)
    except KeyboardInterrupt:
        raise tally.stopped() from None
    finally:
        for item in active:
            with suppress(OSError):
                item.process.kill()
    return tally.outcomes


def _outcome(item: Active) -> Outcome:
    try:
        outcome = item.process.result()
    except AvqError as error:  # died, or failed before it could record that
        return fail(item.job, str(error))
    assert isinstance(outcome, Outcome)
    return outcome


def call_alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, called in a process of its own; Ctrl-C stops the process too.

    Raises:
        AvqError: what the function raised, or its process died.
    """
    process = Process(function, *arguments)
    try:
        return process.result()
    except KeyboardInterrupt:
        process.kill()
        raise


def call_all(function: Callable[[Job], Any], jobs: Sequence[Job], devices: Sequence[str]) -> Generator[Any, None, None]:
    """`function` of every job, each in a process of its own, as many at once as there are devices.

    Yields:
        The results in order, each as it comes; an AvqError in the place of one that failed or whose process died.
        Who stops asking stops the processes.
    """
    for start in range(0, len(jobs), len(devices)):
        group = zip(jobs[start : start + len(devices)], devices, strict=False)
        processes = [Process(function, replace(job, device=device)) for job, device in group]
        try:
            while processes:
                try:
                    result = processes[0].result()
                except AvqError as error:
                    result = error
                processes.pop(0)
                yield result
        except KeyboardInterrupt:
            raise AvqError("stopped while measuring; what was measured so far is stored.") from None
        finally:
            for process in processes:
                process.kill()
