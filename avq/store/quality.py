"""`time-to-quality`: read off a run's validation curve, so that a level can be asked for after the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avq.store.layout import is_as_written
from avq.store.record import measured_cells, typed

if TYPE_CHECKING:
    from pandas import DataFrame


def with_time_to_quality(record: DataFrame, log: Path, level: float | None) -> DataFrame:
    """A run's record, and how long it trained until its validation MAE first was at `level` or below.

    The time is that of the first such point of the curve, so it is no finer than `validate_every`. It is n/a where
    there is none, or where the log is damaged; nothing is added for a run without a curve (a baseline, a failure) or
    without a level.

    Args:
        record: of one run.
        log: its log.csv.
        level: a validation MAE in [0, 1].
    """
    import pandas as pd

    from avq.metrics.measurement import measured, protocol_id, unavailable

    trained = record[(record["metric"] == "training-time") & (record["status"] == "ok")]
    if level is None or trained.empty:
        return record
    name, conditions = "time-to-quality", str(trained["protocol"].iloc[0]).partition(":")[2]
    protocol = f"{protocol_id(name, validation_mae=level)};{conditions}"
    try:
        curve = pd.read_csv(log) if is_as_written(log) else pd.DataFrame()
        good = curve[curve["validation-mae"] <= level]
    except (OSError, ValueError, KeyError):  # a baseline's is empty
        if is_as_written(log):
            return record
        cell = unavailable(name, f"{log.name} is damaged", protocol=protocol)
    else:
        if good.empty:
            least = curve["validation-mae"].min()
            cell = unavailable(name, f"validation MAE never fell to {level} (least {least:.4f})", protocol=protocol)
        else:
            cell = measured(name, good["seconds"].iloc[0], protocol=protocol)
    row = trained.iloc[:1].assign(**measured_cells(cell))
    return pd.concat([record, typed(row)], ignore_index=True)
