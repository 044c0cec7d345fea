"""Records: the long form that every run leaves and every table is made of (schema version 1)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.errors import AvqError, UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.design.plan import Run
    from avq.metrics.measurement import Measurement

SCHEMA_VERSION = 1
COLUMNS = (
    "schema_version", "experiment", "run", "variant", "preset", "dataset", "split", "seed", "level", "metric",
    "protocol", "value", "unit", "stderr", "n", "status", "reason", "machine", "code",
)  # fmt: skip
"""The columns of a composed table, in order; `row` and one column per axis of the ablation follow."""
JOINED = ("experiment", "preset")
"""Columns that a run's own record lacks: one run serves many experiments."""
RECORD_COLUMNS = tuple(name for name in COLUMNS if name not in JOINED)
_INTEGERS = ("schema_version", "seed", "level", "n")
_NUMBERS = ("value", "stderr")
STATUSES = ("ok", "n/a", "failed")


def record_frame(run: Run, rows: Sequence[tuple[str, Measurement]], machine: str) -> DataFrame:
    """The record of one run, from pairs of split and measurement."""
    import pandas as pd

    fixed = {
        "schema_version": SCHEMA_VERSION, "run": run.name, "variant": run.variant, "dataset": run.dataset,
        "seed": run.seed, "machine": machine, "code": run.code,
    }  # fmt: skip
    fields = ("level", "metric", "protocol", "value", "unit", "stderr", "n", "status", "reason")
    cells = [fixed | {"split": split} | {name: getattr(m, name) for name in fields} for split, m in rows]
    return typed(pd.DataFrame(cells, columns=list(RECORD_COLUMNS)))


def failed_record(run: Run, reason: str, machine: str) -> DataFrame:
    """The record of a run that failed: one row of status `failed`, with its reason in one line."""
    from avq.metrics.measurement import Measurement

    cell = Measurement(metric="mae", value=None, unit="", status="failed", reason=" ".join(reason.split()))
    return record_frame(run, [("test", cell)], machine)


def typed(frame: DataFrame) -> DataFrame:
    """The same table with whole numbers as Int64, numbers as float64 and everything else as text."""
    frame = frame.copy()
    for name in frame.columns:
        if name in _INTEGERS:
            frame[name] = frame[name].astype("float64").astype("Int64")
        elif name in _NUMBERS:
            frame[name] = frame[name].astype("float64")
        else:
            frame[name] = frame[name].astype("object").where(frame[name].notna(), "").astype(str)
    return frame


def to_csv(frame: DataFrame) -> str:
    """The table as CSV; floats keep every digit, so that reading gives equal numbers."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def read_records(path: Path) -> DataFrame:
    """Read long-form results (CSV or parquet) and check that they are such.

    Raises:
        UsageError: no such file, or a file that is something else; one line that says what is wrong.
    """
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            # Only an empty cell is an absent one: a row may well be called `none` or `nan`.
            frame = pd.read_csv(
                io.BytesIO(path.read_bytes()),
                dtype=str,
                keep_default_na=False,
                na_values={name: [""] for name in (*_INTEGERS, *_NUMBERS)},
            )
    except FileNotFoundError:
        raise UsageError(f"no results at {path}.") from None
    except OSError as error:
        raise AvqError(f"cannot read {path}: {error.strerror or error}.") from None
    except ValueError as error:  # what pandas and pyarrow raise derives from it
        kind = "parquet" if path.suffix == ".parquet" else "CSV"
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f"{path} holds no results: it is no table in {kind}, or a damaged one ({reason}).") from error
    return _checked(frame, path)


def _checked(frame: DataFrame, path: Path) -> DataFrame:
    missing = [name for name in RECORD_COLUMNS if name not in frame.columns]
    if missing:
        raise UsageError(f"{path} holds no long-form results: column '{missing[0]}' is missing.")
    try:
        frame = typed(frame)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds a cell that is no number: {str(error).splitlines()[0]}") from None
    if frame.empty:
        raise UsageError(f"{path} holds no rows.")
    versions = set(frame["schema_version"].dropna().tolist())
    if versions != {SCHEMA_VERSION}:
        shown = ", ".join(map(str, sorted(versions))) or "none"
        raise UsageError(f"{path} has schema version {shown}; this avq-bench reads version {SCHEMA_VERSION}.")
    wrong = set(frame["status"]) - set(STATUSES)
    if wrong:
        raise UsageError(f"{path}: status '{min(wrong)}' is none of {', '.join(STATUSES)}.")
    return frame


def is_failure(frame: DataFrame) -> bool:
    """Whether this is the record of a run that failed as a whole."""
    return bool((frame["status"] == "failed").all())


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value."""
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
