"""Rate against distortion: what each row's bits buy, the k-means baseline among them."""

from __future__ import annotations

import itertools

import pandas as pd

from avq.errors import UsageError
from avq.metrics.registry import METRICS
from avq.reporting.tables import wide_table
from avq.reporting.values import BASELINE, rows_of

RATE, ENTROPY = "bits-per-pixel", "bits-per-pixel-entropy"


def rate_distortion(long: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """One line a row in the order of its nominal rate, then of its MAE.

    Columns: `dataset` (where there are several), `row`, `seeds`, `bits-per-pixel`, `bits-per-pixel-entropy`, and those
    distortions that were measured, mean over seeds with `:sd` beside it; last `note`: `baseline`, `front` where no
    other row has at most its nominal rate and a lower mean MAE, and `no rate` for rows of unknown rate, which
    come last of their dataset. A front compares means: whether two rows differ, the contrasts say.

    Raises:
        UsageError: no row has both a rate and a distortion.
        NotComparable: a column would hold two protocols.
    """
    distortions = [metric.name for metric in METRICS.values() if metric.distortion]
    part = long[long["metric"].isin((RATE, ENTROPY, *distortions)) & (long["status"] == "ok")]
    table = wide_table(part, split) if len(part) else pd.DataFrame()
    if RATE not in table or not any(name in table for name in distortions):
        raise UsageError(f"no row of these results has both bits per pixel and {METRICS['mae'].label} on {split}.")
    table = table.drop(columns="reason")
    keys = [name for name in ("dataset", RATE, "mae") if name in table]
    table = table.sort_values(keys, kind="stable", ignore_index=True)
    frame = rows_of(long, split)
    marks = {
        "baseline": table["row"].isin(frame.loc[frame["variant"] == BASELINE, "row"]),
        "front": table.index.isin(_front(table) if "mae" in table else []),
        "no rate": table[RATE].isna(),
    }
    notes = zip(*marks.values(), strict=True)
    return table.assign(note=[", ".join(itertools.compress(marks, line)) for line in notes])


def _front(table: pd.DataFrame) -> list[object]:
    """Lines that no other line of their dataset beats: at most the rate, and a lower MAE."""
    front: list[object] = []
    for _, part in table.groupby("dataset" if "dataset" in table else [0] * len(table), sort=False):
        best = float("inf")
        for _, same in part.groupby(part[RATE].round(9)):  # from the lowest rate up
            lowest = same["mae"].min()
            if lowest < best:
                front += same.index[same["mae"] == lowest].to_list()
                best = lowest
    return front
