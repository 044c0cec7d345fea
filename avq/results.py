"""Long-form results of any origin: a store, an experiment's folder, a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avq.errors import UsageError
from avq.store.experiment import TABLE, read_table
from avq.store.record import COLUMNS, read_records

if TYPE_CHECKING:
    from pandas import DataFrame


def load_results(path: str | Path) -> DataFrame:
    """Long-form results of a store (all its experiments), an experiment's folder, a CSV or a parquet file.

    Raises:
        UsageError: there are none; one line that says what is wrong with the file.
    """
    import pandas as pd

    path = Path(path)
    if path.is_dir():
        tables = sorted(path.glob(f"experiments/*/{TABLE}")) or sorted(path.glob(TABLE))
        if not tables:
            raise UsageError(f"{path} holds no finished experiment; `avq-bench status` shows what is going on.")
        frame = pd.concat([read_table(table.parent) for table in tables], ignore_index=True)
    else:
        frame = read_records(path)
    for name, fallback in (("experiment", ""), ("preset", ""), ("row", frame["variant"])):
        if name not in frame.columns:
            frame[name] = fallback
    axes = [name for name in frame.columns if name not in (*COLUMNS, "row")]
    frame[axes] = frame[axes].astype("object").where(frame[axes].notna(), "")
    return frame[[*COLUMNS, "row", *axes]]
