"""Sweeps on Ray: what is refused in one line, and (marked cluster) a cluster of three nodes of which one is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from made_tasks import make_job, make_run

from avq.errors import AvqError, UsageError
from avq.execution import ray_cluster, ray_executor, ray_task
from avq.execution.executors import opened
from avq.execution.tally import Tally
from avq.store.layout import Store, is_locked, write_progress
from avq.store.record import read_records
from avq.tasks.events import Event
from avq.tasks.job import Outcome
from avq.training.checkpoint import read_tensors

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)")

ROWS = "aren-1,vqvae"
SETTINGS = ["steps=60", "batch_size=4", "width=4", "code_dim=8", "codebook_size=8", "image_size=32", "train_images=32",
            "validation_images=8", "test_images=16", "validate_every=10"]  # fmt: skip
TIMED = ["training-time", "train-images-per-s", "inference-images-per-s", "peak-memory", "process-memory"]
# Loaded by every process: a state at every step, a diary of them, and a gate that no training passes while shut.
PLUGIN = """
import os, pathlib, time
from avq.training import step, trainer
trainer._SECONDS_BETWEEN_STATES = 0.0
taken = step.TrainStep.__call__
def diary(self, batch, number, check=False):
    if self.variant != "model":  # neither a plan nor a quiet pass
        while number == 25 and not pathlib.Path({folder!r}, "gate").exists():
            time.sleep(0.05)
        with open({folder!r} + "/steps", "a") as file:
            file.write(f"{{self.variant}} {{os.getpid()}} {{number}}\\n")
    return taken(self, batch, number, check)
step.TrainStep.__call__ = diary
"""


def node(name: str, cpus: float, gpus: float = 0.0, memory: float = 2**33) -> dict[str, Any]:
    resources = {"CPU": cpus, "GPU": gpus, "memory": memory}
    return {"NodeManagerAddress": name, "NodeID": name, "Alive": True, "Resources": resources}


def test_without_ray_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'avq-bench\[ray\]'"), opened("ray", None, "cpu", None):
        pass


def test_executors_are_known_by_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'ray'"), opened("rya", None, "cpu", None):
        pass
    with pytest.raises(UsageError, match="--executor ray"), opened("local", "10.0.0.1:6379", "cpu", None):
        pass


@needs_ray
@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("nowhere", UsageError, "'nowhere' is no address.*host:port"),
        ("ray://head:10001", UsageError, "is no address"),
        ("127.0.0.1:{free}", AvqError, "no Ray cluster answers at 127.0.0.1:.*is its head running"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line_at_once(address: str, kind: type[AvqError], words: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(free=free.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(kind, match=words) as caught, opened("ray", address, "cpu", None):
            pass
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 60  # Ray itself tries for two minutes


def test_requests_fit_nodes_or_the_line_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [node("10.0.0.1", 4), node("10.0.0.2", 8, 2)]
    monkeypatch.setattr(ray_cluster, "nodes", lambda: there)
    assert ray_cluster.slots_of({"CPU": 1.0}) == 12
    assert ray_cluster.slots_of({"CPU": 1.0, "GPU": 1.0}) == 2
    need = {"CPU": 1.0, "memory": 9.0 * 2**30}
    assert not any(ray_cluster.fits(need, each) for each in there)
    assert ray_cluster.nowhere("aren-3", need).startswith(
        "no node of the Ray cluster can carry out aren-3, which needs 1 CPU, 9.0 GiB of memory "
        "(10.0.0.1: 4 CPU, 0 GPU, 8.0 GiB of memory; 10.0.0.2:"
    )


def test_a_run_that_is_lost_without_a_step_forward_is_given_up(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_run())
    folder = Store(tmp_path).folder(job.run)
    folder.mkdir(parents=True)
    sweep = ray_executor._Flights(None, tmp_path, Tally([job], lambda _: None), None, lambda _: Outcome("done"))  # type: ignore[arg-type]
    for step, resumes in [(0, True), (5, True), (9, True), (9, True), (8, False)]:
        write_progress(folder, "training", step=step)
        assert sweep._may_resume(job) is resumes, step


def test_a_job_lost_too_often_is_a_failed_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, events = make_job(tmp_path, make_run()), list[Event]()
    Store(tmp_path).prepare()
    tally = Tally([job], events.append)
    sweep = ray_executor._Flights(None, tmp_path, tally, None, lambda _: Outcome("done"))  # type: ignore[arg-type]
    words = iter(["10.0.0.1", ray_task.Lost("its node or its task died")] * ray_executor.DEATHS)

    def next_word(_: object) -> object:
        word = next(words)
        if isinstance(word, AvqError):
            raise word
        return word

    monkeypatch.setattr(ray_executor, "next_word", next_word)
    for attempt in range(ray_executor.DEATHS):
        sweep.flights[attempt] = ray_executor.Flight(job, {}, 0.0)
        sweep._take(attempt)
        sweep._take(attempt)
    assert [event.kind for event in events] == ["start", "message", "message", "fail"]
    assert "lost aren-1" in events[1].text
    assert tally.outcomes[job.run.name].text == "its node or its task died"
    record = Store(tmp_path).record(job.run)
    assert record is not None
    assert record["reason"].tolist() == ["its node or its task died"]


def raiser(error: AvqError) -> Callable[..., Any]:
    def function(*_: object) -> Any:
        raise error

    return function


@needs_ray
def test_a_node_that_died_is_told_from_a_task_that_did(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray import exceptions

    for error, kind in [
        (exceptions.TaskUnschedulableError("the node specified doesn't exist any more"), ray_task.NodeGone),
        (exceptions.NodeDiedError("it died"), ray_task.NodeGone),
        (exceptions.WorkerCrashedError(), ray_task.Lost),
        (exceptions.OutOfMemoryError("too much"), ray_task.Lost),
    ]:
        monkeypatch.setattr(ray, "get", raiser(error))  # type: ignore[arg-type]
        with pytest.raises(ray_task.Lost) as caught:
            ray_task.next_word(iter([None]))
        assert type(caught.value) is kind


def test_costs_are_measured_elsewhere_where_the_node_meant_for_them_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [node("10.0.0.1", 1), node("10.0.0.2", 1)]
    monkeypatch.setattr(ray_executor, "nodes", lambda: there)
    monkeypatch.setattr(ray_executor, "slots_of", lambda _need: 2)
    monkeypatch.setattr(ray_executor.Cluster, "_machine_of", lambda _self, _node: "the same")
    monkeypatch.setattr(ray_executor.Cluster, "_is_same", lambda _self, _node: True)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(remote=lambda **_: lambda _function: None))
    asked: list[str] = []

    def alone_on(_self: object, name: str, *_: object) -> str:
        asked.append(name)
        if name == "10.0.0.1":
            raise ray_task.NodeGone("its node died")  # and the cluster still names it
        return "costs"

    monkeypatch.setattr(ray_executor.Cluster, "_alone_on", alone_on)
    cluster = ray_executor.Cluster("cpu", None)
    job = make_job(tmp_path, make_run())
    assert cluster.alone(lambda _job: None, job) == "costs"
    assert cluster.alone(lambda _job: None, job) == "costs"
    assert asked == ["10.0.0.1", "10.0.0.2", "10.0.0.2"]
    crash = ray_task.Lost("Ray ended it because its node ran out of memory")
    with monkeypatch.context() as patch:
        patch.setattr(ray_executor.Cluster, "_alone_on", raiser(crash))
        with pytest.raises(ray_task.Lost, match="out of memory"):
            cluster.alone(lambda _job: None, job)
    assert cluster.alone(lambda _job: None, job) == "costs"  # that node is there yet
    there.pop()
    with pytest.raises(AvqError, match="the cluster lost its node with the same"):
        cluster.alone(lambda _job: None, job)


def patiently(begin: Callable[[], Any]) -> Any:
    """Ray gives a node 30 s to start, which a busy machine may not do at once."""
    for _ in range(4):
        try:
            return begin()
        except Exception as error:
            late = error
    raise late


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without a CPU, where the command is given, and two nodes of one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed (extra `ray`)")
    made = patiently(lambda: cluster_utils.Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False}))
    for _ in range(2):
        patiently(lambda: made.add_node(num_cpus=1))
    yield made
    made.shutdown()


def start(store: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "avq", "run", "ablation_levels", "--only", ROWS, "--seeds", "1"]
    words += ["--plugin", "diary", "--device", "cpu", "--format", "csv", "--output", str(store), *more]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    return subprocess.Popen(
        words, env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def wait_for(sweep: subprocess.Popen[str], condition: Any) -> None:
    while not condition():
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.05)


def untimed(store: Path) -> pd.DataFrame:
    table = read_records(next(store.glob("experiments/*/table.csv")))
    return table[~table["metric"].isin(TIMED)].reset_index(drop=True)


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_request_that_no_node_can_satisfy_is_one_line(cluster: Any, tmp_path: Path) -> None:
    words = "no node of the Ray cluster can carry out a run, which needs 1 CPU, 1 GPU"
    with pytest.raises(UsageError, match=words), opened("ray", cluster.address, "cuda", None):
        pass


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_ctrl_c_stops_the_tasks_too(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "diary.py").write_text(PLUGIN.format(folder=str(tmp_path)))
    store = tmp_path / "store"
    sweep = start(store, tmp_path, "--executor", "ray", "--address", cluster.address)
    wait_for(sweep, lambda: len(list(store.glob("runs/*/state.safetensors"))) == 2)
    sweep.send_signal(signal.SIGINT)
    out, said = sweep.communicate()
    assert (sweep.returncode, out) == (130, "")
    assert said.strip().splitlines()[-1].startswith("Stopped; 0 of 2 runs are finished; begun ones are resumed")
    until = time.monotonic() + 30
    while any(is_locked(folder) for folder in store.glob("runs/*")):
        assert time.monotonic() < until, "a task goes on"
        time.sleep(0.1)
    assert not list(store.glob(".ray-*"))


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_killed_node_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    local, on_ray, steps, gate = (tmp_path / name for name in ("local", "on-ray", "steps", "gate"))
    (tmp_path / "diary.py").write_text(PLUGIN.format(folder=str(tmp_path)))
    gate.touch()
    alone = start(local, tmp_path, "--workers", "2")
    _, said = alone.communicate()
    assert alone.returncode == 0, said
    steps.unlink()
    gate.unlink()

    sweep = start(on_ray, tmp_path, "--executor", "ray", "--address", cluster.address)
    wait_for(sweep, lambda: len(list(on_ray.glob("runs/*/state.safetensors"))) == 2)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    gate.touch()
    out_ray, said = sweep.communicate()
    assert sweep.returncode == 0, said
    assert said.count("; it resumes from its last checkpoint") == 1, said
    assert "raylet" not in said + out_ray
    assert "Traceback" not in said

    taken = [line.split() for line in steps.read_text().splitlines()]
    processes = {variant: {pid for name, pid, _ in taken if name == variant} for variant in ROWS.split(",")}
    assert sorted(map(len, processes.values())) == [1, 2], "one run, and only one, was begun twice"
    firsts = Counter(variant for variant, _, number in taken if number == "0")
    assert set(firsts.values()) == {1}, "it was trained anew, not resumed"

    pd.testing.assert_frame_equal(untimed(local), untimed(on_ray))
    assert not (read_records(next(on_ray.glob("experiments/*/table.csv")))["status"] == "failed").any()
    for path in local.glob("runs/*/checkpoint.safetensors"):
        mine, theirs = read_tensors(path)[0], read_tensors(on_ray / path.relative_to(local))[0]
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
        points = [pd.read_csv(store / path.parent.relative_to(local) / "log.csv") for store in (local, on_ray)]
        pd.testing.assert_frame_equal(*(log.drop(columns="seconds") for log in points))
