"""Records: the long form that every task leaves and every table is made of (schema version 2)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.aliases import METRICS, SETTINGS, current_label
from avq.errors import AvqError, UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.design.run import Run
    from avq.metrics.measurement import Measurement

SCHEMA_VERSION = 2
_FIRST_VERSION = 1  # the same columns; settings and metrics had other names
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
_MEASURED = ("level", "metric", "protocol", "value", "unit", "stderr", "n", "status", "reason")
STATUSES = ("ok", "n/a", "failed")


def measured_cells(measurement: Measurement) -> dict[str, Any]:
    """A measurement's columns."""
    return {name: getattr(measurement, name) for name in _MEASURED}


def record_frame(
    about: Mapping[str, Any], rows: Iterable[tuple[str, Measurement]], columns: Sequence[str] = RECORD_COLUMNS
) -> DataFrame:
    """Long-form rows, from pairs of split and measurement.

    Args:
        about: what the rows have in common, by column: `run`, `variant`, `dataset`, `seed`, `machine`, `code` and more.
        rows: the measurements.
        columns: those of the table; what is missing is empty.
    """
    import pandas as pd

    cells = [
        {"schema_version": SCHEMA_VERSION, **about, "split": split, **measured_cells(measurement)}
        for split, measurement in rows
    ]
    return typed(pd.DataFrame(cells, columns=list(columns)))


def of_run(run: Run, machine: str) -> dict[str, Any]:
    """What the rows of a run have in common."""
    return {
        "run": run.name, "variant": run.variant, "dataset": run.dataset, "seed": run.seed, "machine": machine,
        "code": run.code,
    }  # fmt: skip


def failed_cell(metric: str, reason: str) -> Measurement:
    """The cell of status `failed` that says why there is no measurement."""
    from avq.metrics.measurement import Measurement

    return Measurement(metric, None, "", status="failed", reason=reason)


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
    """The table as CSV; floats keep every digit, so that what is read equals what was written."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def read_records(path: Path) -> DataFrame:
    """Read long-form results (CSV or parquet) and check that they are such.

    Raises:
        UsageError: no such file, or a file that is something else; one line that says what is wrong.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _from_csv(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"no results at {path}.") from None
    except OSError as error:
        raise AvqError(f"cannot read {path}: {error.strerror or error}.") from None
    except (ValueError, NotImplementedError, csv.Error) as error:  # what pandas and pyarrow raise derives from them
        kind = "parquet" if path.suffix == ".parquet" else "CSV"
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f"{path} holds no results: it is no table in {kind}, or a damaged one ({reason}).") from error
    return _checked(frame, path)


def _from_csv(content: bytes) -> DataFrame:
    """Cells as text; ValueError where the file was cut short.

    Only an empty cell is an absent one: a row may well be called `none` or `nan`.
    """
    import pandas as pd

    text = content.decode("utf-8-sig")
    if not text.endswith("\n"):
        raise ValueError("it is empty, or ends in the middle of a line")
    names, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    if len(set(names)) < len(names):
        raise ValueError("two columns have one name")
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"a line has {len(row)} cells, the first has {len(names)}")
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    numbers = [name for name in (*_INTEGERS, *_NUMBERS) if name in names]
    frame[numbers] = frame[numbers].where(frame[numbers] != "")
    return frame


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
    if not versions or not versions <= {_FIRST_VERSION, SCHEMA_VERSION}:
        shown = ", ".join(map(str, sorted(versions))) or "none"
        raise UsageError(
            f"{path} has schema version {shown}; this avq-bench reads {_FIRST_VERSION} and {SCHEMA_VERSION}."
        )
    if _FIRST_VERSION in versions:
        frame = _with_current_names(frame)
    wrong = set(frame["status"]) - set(STATUSES)
    if wrong:
        raise UsageError(f"{path}: status '{min(wrong)}' is none of {', '.join(STATUSES)}.")
    return frame


def _with_current_names(frame: DataFrame) -> DataFrame:
    """Columns of axes, labels of rows and metrics of the first release under today's names."""
    frame = frame.rename(columns={name: SETTINGS[name] for name in frame.columns if name in SETTINGS})
    if "row" in frame:
        frame["row"] = frame["row"].map(current_label)
    for before, now in METRICS.items():
        of = frame["metric"] == before
        frame.loc[of, "protocol"] = frame.loc[of, "protocol"].str.replace(before, now, n=1, regex=False)
        frame.loc[of, "metric"] = now
    return frame.assign(schema_version=frame["schema_version"].clip(lower=SCHEMA_VERSION))


def is_failure(frame: DataFrame) -> bool:
    """Whether this is the record of a run that failed as a whole."""
    return bool((frame["status"] == "failed").all())
