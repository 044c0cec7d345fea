"""An experiment's two files, and commands that are killed between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_tasks import make_run

from avq.metrics.measurement import measured
from avq.store import experiment
from avq.store.experiment import read_table, write_experiment
from avq.store.record import COLUMNS, of_run, record_frame


def test_a_table_outlives_commands_that_are_killed_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def write(value: float) -> None:
        rows = [("test", measured("mae", value, protocol="mae.1"))]
        write_experiment(tmp_path, {"experiment": "e"}, record_frame(of_run(make_run(), "m"), rows, COLUMNS))

    write(0.5)
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "write_atomic", killed)
        for value in (0.6, 0.7):
            with pytest.raises(KeyboardInterrupt):
                write(value)
    assert read_table(tmp_path)["value"].tolist() == [0.5]
    write(0.8)
    assert read_table(tmp_path)["value"].tolist() == [0.8]
