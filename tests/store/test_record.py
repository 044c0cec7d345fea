from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tasks import make_run

from avq.errors import UsageError
from avq.files import DiskError, write_atomic
from avq.metrics.measurement import Measurement
from avq.store.record import (
    RECORD_COLUMNS,
    failed_cell,
    is_failure,
    of_run,
    read_records,
    record_frame,
    to_csv,
    typed,
)


def frame(value: float = 0.5):
    cells = [("test", Measurement("mae", value, "", stderr=0.1, n=7, protocol="mae.1:range=0-1")),
             ("test", Measurement("perplexity", None, "codes", level=2, status="n/a", reason='a "b", c'))]  # fmt: skip
    return record_frame(of_run(make_run(), "cpu x, 2 cores"), cells)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_record_survives_the_disk_to_the_last_digit(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.mktemp("r") / "record.csv"
    write_atomic(path, to_csv(frame(value)), durable=False)
    assert read_records(path).equals(frame(value))
    assert tuple(frame().columns) == RECORD_COLUMNS


def test_parquet_too(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "r.parquet")
    assert read_records(tmp_path / "r.parquet").equals(frame())


def test_a_failure_is_a_row_with_its_reason_in_one_line() -> None:
    record = record_frame(of_run(make_run(), "m"), [("test", failed_cell("mae", "it broke"))])
    assert is_failure(record)
    assert not is_failure(frame())
    assert record["reason"].tolist() == ["it broke"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is no table in CSV"),
        (b"a,b\n1,2\n", "column 'schema_version' is missing"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "r.csv"),
        (to_csv(frame()).replace("\n2,", "\n9,").encode(), "schema version 9"),
        (to_csv(frame()).replace("0.5", "half").encode(), "no number"),
        (to_csv(frame()).replace(",ok,", ",fine,").encode(), "status 'fine'"),
        (to_csv(frame()).splitlines(keepends=True)[0].encode(), "no rows"),
        (to_csv(frame())[:-1].encode(), "ends in the middle of a line"),
        (to_csv(frame()).rsplit(",", 1)[0].encode() + b"\n", "a line has 16 cells, the first has 17"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_records(path)
    assert words in str(caught.value)
    assert "r.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results"):
        read_records(tmp_path / "none.csv")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.csv"
    write_atomic(path, "old")

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left on device; finished runs are untouched: free some space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_words_that_look_like_absence_are_kept() -> None:
    table = frame().assign(row="none", status="n/a")
    assert typed(table)["row"].tolist() == ["none", "none"]
    assert typed(table)["status"].tolist() == ["n/a", "n/a"]
