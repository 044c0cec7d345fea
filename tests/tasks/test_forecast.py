from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_tasks import make_run

from avq.store.layout import Store
from avq.tasks.forecast import Known, schedule


def test_a_run_takes_its_steps_and_its_evaluations(tmp_path: Path) -> None:
    run = make_run(steps=100, validate_every=30)
    sizes = {"train_images": 10, "validation_images": 5, "test_images": 20}
    run = replace(run, data=dict(run.data) | sizes)
    known = Known(Store(tmp_path), "a machine", 2)
    assert known.seconds(run) is None
    cost = {"setup": 1.0, "step": 0.1, "image": 0.01, "memory": 300.0, "weights": 0.0, "state": 0.0}
    known.store.write_result(known.tasks(run)[0], cost)
    assert known.seconds(run) == pytest.approx(1 + 10 + (4 * 5 + 20) * 0.01)
    assert known.seconds(run, trained=True) == pytest.approx(20 * 0.01)
    assert known.memory(run) is None
    known.store.write_result(known.tasks(run)[1], {"seconds": 1.0, "memory": 700.0, "held": 50.0})
    assert known.memory(run) == 700, "images that take more while they are loaded"
    assert Known(known.store, "a machine", 3).model(run) is None, "measured beside two, not three"


def test_work_goes_to_whoever_is_free_first() -> None:
    assert schedule([3, 3, 3], [0, 0]) == 6
    assert schedule([5, 1, 1, 1], [0, 0]) == 5
    assert schedule([1, 5], [4, 0]) == 6
    assert schedule([], [2, 1]) == 2
