"""What the executor runs in tests instead of training: importable by worker processes, quick, torch-free."""

from __future__ import annotations

import os
import resource
import signal
import time

from avq.errors import AvqError
from avq.files import write_json
from avq.metrics.measurement import measured
from avq.store.layout import Store, lock
from avq.store.record import of_run, record_frame
from avq.tasks.carry_out import fail, run_task
from avq.tasks.job import Job, Outcome


def train_fake(job: Job) -> Outcome:
    """Five steps of 10 ms with a state on disk, as the real worker leaves; then a record."""
    store = Store(job.root)
    folder = store.folder(job.run)
    with lock(folder) as mine:
        if not mine:
            return Outcome("busy")
        if store.finished(job.task):
            return Outcome("done", "reused")
        for step in range(5):
            write_json(folder / "progress.json", {"state": "training", "step": step, "steps": 5, "seconds_left": 1.0})
            time.sleep(0.01)
        about = of_run(job.run, "m")
        store.write_record(job.run, record_frame(about, [("train", measured("training-time", 1.0, protocol="t.1"))]))
        store.write_record(job.task, record_frame(about, [("test", measured("mae", 0.05, protocol="mae.1"))]))
        with (folder / "trained").open("a") as count:
            count.write("x")
        write_json(folder / "progress.json", {"state": "done"})
    return Outcome("done")


def train_slowly(job: Job) -> Outcome:
    """As `train_fake`, but a quarter of a second longer."""
    time.sleep(0.25)
    return train_fake(job)


def train_by_variant(job: Job) -> Outcome:
    """`aren-1` dies by a signal, `aren-2` fails with an error, `aren-3` exits; the others train."""
    if job.run.variant == "aren-1":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.run.variant == "aren-2":
        return fail(job, "the loss is nan at step 3")
    if job.run.variant == "aren-3":
        os._exit(7)
    return train_fake(job)


def slow(job: Job) -> Outcome:
    """Holds the run's lock until it is killed."""
    with lock(Store(job.root).folder(job.run)):
        Store(job.root).folder(job.run).joinpath("pid").write_text(str(os.getpid()))
        time.sleep(60)
    return Outcome("done")


def train_on_a_small_disk(job: Job) -> Outcome:
    """The real worker, which cannot write a file of more than 20 kB: as on a full disk, but for any user."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    return run_task(job)


def stumble(_job: Job) -> Outcome:
    raise ValueError("not that way")


def first_only(job: Job) -> str:
    """Quick for `aren-1`, an error for `aren-2`, for ever for others."""
    if job.run.variant == "aren-2":
        raise AvqError("no")
    time.sleep(0 if job.run.variant == "aren-1" else 60)
    return job.run.variant


def refuse(_job: Job) -> Outcome:
    raise AvqError("no such thing")


def stop_at_once(_job: Job) -> Outcome:
    return Outcome("stopped", "stopped after step 3 of 5")
