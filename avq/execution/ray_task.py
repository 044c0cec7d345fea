"""What Ray carries out for a job, on whichever node, and how its words are heard."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avq.design.parts import code_now
from avq.errors import AvqError
from avq.execution.local import Process
from avq.files import write_atomic
from avq.tasks.job import Job

_SECONDS_TO_SEE = 10.0  # a network's file system may show a new file late


class WrongNode(AvqError):
    """A node of the cluster cannot take part: it sees another store, or runs other code."""


@dataclass(frozen=True)
class Home:
    """What a node must have in common with the command: plug-ins' path, the store's mark, the training code."""

    path: tuple[str, ...]
    mark: Path
    code: str

    def check(self, job: Job) -> None:
        """WrongNode where a job must not be carried out here."""
        import ray

        from avq.plugins import load_plugin

        here = ray.util.get_node_ip_address()
        sys.path.extend(folder for folder in self.path if folder not in sys.path)
        until = time.monotonic() + _SECONDS_TO_SEE
        while not self.mark.exists():
            if time.monotonic() > until:
                raise WrongNode(f"node {here} does not see the store {job.root}: put it where all nodes do (--output).")
            time.sleep(0.2)
        for plugin in job.plugins:
            load_plugin(plugin)
        if code_now(job.run) != self.code:
            raise WrongNode(f"node {here} has other code of avq-bench or of a plug-in than this command.")


def watch_over(job: Job, function: Callable[[Job], Any], home: Home) -> Iterator[Any]:
    """The task: says where it is, then yields what the function returned in a process of its own, or an AvqError."""
    import ray

    yield ray.util.get_node_ip_address()
    try:
        home.check(job)
        yield Process(function, job).result()
    except AvqError as error:
        yield error


class Lost(AvqError):
    """A node or a task died under a job."""


class NodeGone(Lost):
    """It was the node, or a node was asked for that had died unnoticed until then."""


@contextmanager
def marked(root: Path) -> Iterator[Path]:
    """A file in the store by which a node knows that it sees the same one."""
    mark = root.absolute() / f".ray-{uuid.uuid4().hex}"
    write_atomic(mark, "")
    try:
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink()


def home_of(job: Job, mark: Path) -> Home:
    return Home(tuple(str(Path(folder).absolute()) for folder in sys.path), mark, code_now(job.run))


def next_word(generator: Any) -> Any:
    """The next thing that a task yields. Lost where it or its node died; AvqError where Ray could not start it."""
    import ray
    from ray import exceptions

    try:
        return ray.get(next(generator))
    except (exceptions.NodeDiedError, exceptions.TaskUnschedulableError) as gone:
        raise NodeGone("its node died") from gone
    except (StopIteration, exceptions.WorkerCrashedError, exceptions.ObjectLostError) as died:
        raise Lost("its node or its task died") from died
    except exceptions.OutOfMemoryError:
        raise Lost("Ray ended it because its node ran out of memory") from None
    except exceptions.RayError as error:
        last = " ".join(str(error).strip().splitlines()[-1].split())
        raise WrongNode(f"Ray cannot carry the task out: {last}; is avq-bench installed on every node?") from error


def result(generator: Any) -> Any:
    """What a task's function gave. AvqError where it failed or was lost."""
    next_word(generator)
    value = next_word(generator)
    if isinstance(value, AvqError):
        raise value
    return value


def cancel(generator: Any) -> None:
    import ray

    with suppress(Exception):  # it may be over, and so may the cluster
        ray.cancel(generator, force=True)
