"""What lies in a store belongs where it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_tasks import make_job, make_run

from avq.design.task import Task
from avq.metrics.measurement import measured
from avq.store.layout import Store, forget_children
from avq.store.record import of_run, record_frame


@pytest.fixture
def two(tmp_path: Path) -> tuple[Store, list[list[Task]]]:
    """A store with two finished runs, and each run with its evaluation."""
    store = Store(tmp_path)
    store.prepare()
    pairs: list[list[Task]] = []
    for seed in (0, 1):
        job = make_job(tmp_path, make_run(seed=seed))
        pairs.append([job.run, job.task])
        for task, metric in zip(pairs[-1], ("training-time", "mae"), strict=True):
            row = measured(metric, seed + 0.5, protocol=f"{metric}.1")
            store.write_record(
                task, record_frame(of_run(job.run, "m"), [("test" if metric == "mae" else "train", row)])
            )
    return store, pairs


@pytest.mark.parametrize("name", ["", "record.csv", "evaluation-test", "evaluation-test/record.csv"])
def test_what_was_copied_from_another_run_is_not_its_own(two: tuple[Store, list[list[Task]]], name: str) -> None:
    store, ((one, first), (other, second)) = two
    source, target = store.folder(one) / name, store.folder(other) / name
    shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    assert store.finished(one)
    assert store.finished(first)
    assert not (store.finished(other) and store.finished(second))
    assert store.run(target.name if not name else store.folder(other).name) == (other if name else None)
    if name != "record.csv":
        assert store.record(second) is None


def test_results_of_a_model_that_is_no_more_go_however_far_they_came(tmp_path: Path) -> None:
    (tmp_path / "evaluation-test").mkdir()  # killed before its task.json
    (tmp_path / "tensorboard").mkdir()
    forget_children(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
