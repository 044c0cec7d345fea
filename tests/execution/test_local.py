from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import task_fakes as fakes
from made_tasks import TINY, make_job, make_run

from avq.errors import AvqError, Stopped
from avq.execution import local as executor
from avq.execution.local import Process, execute
from avq.files import DiskError
from avq.store.layout import Store, is_locked, lock
from avq.store.record import is_failure, read_records
from avq.sweep import plan
from avq.tasks.events import Event


def sweep(root: Path, variants: list[str], function=fakes.train_fake, workers: int = 2, fresh: bool = False):
    store = Store(root)
    store.prepare()
    events: list[Event] = []
    jobs = [make_job(root, make_run(variant), fresh) for variant in variants]
    outcomes = execute(jobs, ["cpu"] * workers, events.append, function=function)
    return store, outcomes, events


def test_every_run_is_trained_once_and_reported(tmp_path: Path) -> None:
    names = ["aren-1", "aren-2", "vqvae"]
    store, outcomes, events = sweep(tmp_path, names)
    assert [outcome.kind for outcome in outcomes.values()] == ["done"] * 3
    assert all(store.finished(make_run(name)) for name in names)
    kinds = [event.kind for event in events if event.kind != "progress"]
    assert kinds.count("start") == kinds.count("finish") == 3
    assert events[-1].done == events[-1].total == 3


def test_a_crash_is_a_failed_record_with_its_reason_and_the_sweep_goes_on(tmp_path: Path) -> None:
    store, outcomes, events = sweep(tmp_path, ["aren-1", "aren-2", "aren-3", "vqvae"], fakes.train_by_variant)
    reasons = {}
    for variant in ("aren-1", "aren-2", "aren-3"):
        record = store.record(make_run(variant))
        assert record is not None
        assert is_failure(record)
        reasons[variant] = record["reason"].iloc[0]
    assert "SIGKILL" in reasons["aren-1"]
    assert reasons["aren-2"] == "the loss is nan at step 3"
    assert "exit code 7" in reasons["aren-3"]
    assert store.finished(make_run("vqvae"))
    assert [event.kind for event in events].count("fail") == 3
    assert [outcome.kind for outcome in outcomes.values()].count("failed") == 3


def test_a_failed_run_is_tried_again(tmp_path: Path) -> None:
    store, *_ = sweep(tmp_path, ["aren-1"], fakes.train_by_variant)
    assert not store.finished(make_run("aren-1"))
    store, *_ = sweep(tmp_path, ["aren-1"])
    assert store.finished(make_run("aren-1"))


def test_two_commands_never_train_one_run_twice(tmp_path: Path) -> None:
    names = [f"v{index}" for index in range(4)]
    threads = [threading.Thread(target=sweep, args=(tmp_path, names)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Store(tmp_path)
    for name in names:
        assert (store.folder(make_run(name)) / "trained").read_text() == "x"


def test_a_run_that_another_command_has_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "BUSY_SECONDS", 0.1)
    store = Store(tmp_path)
    store.prepare()
    run = make_run()
    with lock(store.folder(run)) as mine:
        assert mine
        release = threading.Timer(0.6, lambda: None)
        release.start()
        thread = threading.Thread(target=sweep, args=(tmp_path, [run.variant]))
        thread.start()
        release.join()
        assert not store.finished(run)
    thread.join()
    assert store.finished(run)


def test_children_die_with_the_parent_and_leave_no_lock(tmp_path: Path) -> None:
    run = make_run()
    store = Store(tmp_path)
    store.prepare()
    parent = _start_sweep(tmp_path, [run.variant], "slow")
    pid_file = store.folder(run) / "pid"
    _wait_for(lambda: pid_file.exists() and pid_file.read_text())
    assert is_locked(store.folder(run))
    parent.kill()
    parent.wait()
    _wait_for(lambda: not is_locked(store.folder(run)))


def test_a_sweep_killed_at_random_points_loses_nothing_and_ends(tmp_path: Path) -> None:
    names = [f"v{index}" for index in range(10)]
    store = Store(tmp_path)
    generator = random.Random(0)
    finished: dict[str, bytes] = {}
    kills = 0
    for attempt in range(30):
        parent = _start_sweep(tmp_path, names, "train_slowly")
        try:
            parent.wait(timeout=generator.uniform(0.8, 1.6) if attempt < 6 else 30)
        except subprocess.TimeoutExpired:
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
            kills += 1
        for path in store.runs.glob("*/record.csv"):
            assert not is_failure(read_records(path))  # raises where a record is not whole
            assert finished.setdefault(path.parent.name, path.read_bytes()) == path.read_bytes()
        if parent.returncode == 0:
            break
    assert len(finished) == len(names)
    assert kills > 1


def _start_sweep(root: Path, names: list[str], function: str) -> subprocess.Popen[bytes]:
    tests = Path(__file__).parents[1]
    code = f"""
import pathlib, sys
sys.path[:0] = [{str(tests / "helpers")!r}, {str(tests.parent)!r}]
import task_fakes as fakes
from made_tasks import make_job, make_run
from avq.execution import local as executor
from avq.store.layout import Store
executor.PRELOAD = ["pandas", "avq.tasks.carry_out", "avq.metrics.measurement"]
root = pathlib.Path({str(root)!r})
Store(root).prepare()
jobs = [make_job(root, make_run(name)) for name in {names!r}]
executor.execute(jobs, ["cpu"] * 2, lambda event: None, function=fakes.{function})
"""
    return subprocess.Popen([sys.executable, "-c", code])


def _wait_for(condition, seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_a_disk_that_takes_nothing_more_stops_with_one_line(tmp_path: Path) -> None:
    settings = TINY | {"width": 32}  # a checkpoint that is too large for the disk
    run = plan("levels", only=["aren-1"], settings=settings, device="cpu").runs[0]
    Store(tmp_path).prepare()
    with pytest.raises(DiskError, match=r"cannot write .*File too large.*same command again") as caught:
        execute([make_job(tmp_path, run)], ["cpu"], lambda _event: None, function=fakes.train_on_a_small_disk)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert Store(tmp_path).record(run) is None
    execute([make_job(tmp_path, run)], ["cpu"], lambda _event: None)  # the same command again
    assert Store(tmp_path).finished(run)


def test_any_error_of_a_process_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AvqError, match=r"^ValueError: not that way$"):
        Process(fakes.stumble, make_job(tmp_path, make_run())).result()
    assert "Traceback" not in capfd.readouterr().err


def test_results_come_one_by_one_and_who_stops_asking_stops_the_processes(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, make_run(variant)) for variant in ("aren-1", "aren-2", "vqvae")]
    began = time.monotonic()
    results = executor.call_all(fakes.first_only, jobs, ["cpu"] * 3)
    assert next(results) == "aren-1"
    assert str(next(results)) == "no"
    results.close()
    assert time.monotonic() - began < 50
    assert not multiprocessing.active_children()


def test_a_store_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="finished runs are untouched") as caught:
        Store(tmp_path / "file" / "store").prepare()
    assert "\n" not in str(caught.value)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    run = make_run()

    def interrupt(event: Event) -> None:
        if event.kind == "start":
            raise KeyboardInterrupt

    with pytest.raises(AvqError, match="give the same command again"):
        execute([make_job(tmp_path, run)], ["cpu"], interrupt, function=fakes.slow)
    assert not multiprocessing.active_children()
    assert not is_locked(store.folder(run))


def test_errors_come_back_from_a_process(tmp_path: Path) -> None:
    with pytest.raises(AvqError, match="no such thing"):
        Process(fakes.refuse, make_job(tmp_path, make_run())).result()


@pytest.mark.parametrize(("fresh", "again"), [(False, "again to resume"), (True, "again without --fresh to resume")])
def test_no_run_is_begun_when_the_time_is_over(tmp_path: Path, fresh: bool, again: str) -> None:
    jobs = [make_job(tmp_path, make_run("aren-1"), fresh)]
    said = f"the time is over; 0 of 1 runs are finished; begun ones are resumed: .* {again}"
    with pytest.raises(Stopped, match=said) as stopped:
        execute(jobs, ["cpu"], lambda _event: None, function=fakes.train_fake, stop_at=time.time())
    assert stopped.value.exit_code == 4
    assert not Store(tmp_path).folder(jobs[0].run).exists()


def test_a_run_that_stops_at_its_time_is_told_and_not_begun_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    jobs = [make_job(tmp_path, make_run(name)) for name in ("aren-1", "aren-2")]
    events: list[Event] = []
    with pytest.raises(Stopped, match="0 of 2 runs are finished"):
        execute(jobs, ["cpu"] * 2, events.append, function=fakes.stop_at_once, stop_at=time.time() + 3600)
    told = [event.kind for event in events]
    assert (told.count("start"), told.count("stop")) == (2, 2)
