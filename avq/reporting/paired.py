"""Runs that both tables hold, of one and the same checkpoint: a difference there is no noise between seeds.

A run's name is the hash of configuration, data and code that trains, but not of the libraries: trained anew under
another torch, it is another model by the same name. What proves that two records measured the same weights is
`validation-mae`: training records it, and a kept checkpoint that is measured again keeps it, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from avq.metrics.registry import METRICS

Key = tuple[str, str, str, int]
RUN = ["dataset", "row", "seed", "run", "code"]
CELL = ["dataset", "row", "metric", "level"]
NOTICEABLE = 0.01  # the share of a value that counts as a loss where the ablation file declares no margin
ROUNDING = 1e-6  # relative: what another CPU's rounding may do where there is no other spread


def same_checkpoints(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Runs (`RUN`) whose `validation-mae` is the same number in both tables, under the same protocol."""
    sides = []
    for frame in (before, now):
        there = (frame["metric"] == "validation-mae") & (frame["status"] == "ok") & frame["value"].notna()
        sides.append(frame.loc[there, [*RUN, "protocol", "value"]].drop_duplicates())
    return sides[0].merge(sides[1], on=[*RUN, "protocol", "value"])[RUN]


def measured_again(
    before: pd.DataFrame, now: pd.DataFrame, checkpoints: pd.DataFrame, margin: Mapping[str, float]
) -> dict[Key, Literal["same", "regressed"]]:
    """What is sure of cells (`CELL`, level 0 for none) whose shared seeds are all of the same checkpoints.

    `same`: the same seeds and the same values. `regressed`: in every shared seed worse by more than the metric's
    margin, or by more than `NOTICEABLE` of the value where there is none. Of other cells nothing is said, nor where
    machine or protocol differ.

    Args:
        before, now: records, of sound runs only.
        checkpoints: of `same_checkpoints`.
        margin: by metric.
    """
    proven = set(checkpoints.itertuples(index=False, name=None))
    sides = [_values(frame) for frame in (before, now)]
    both = sides[0].merge(sides[1], on=[*CELL, "seed"], how="outer", suffixes=("", "_now"))
    found: dict[Key, Literal["same", "regressed"]] = {}
    for key, cell in both.groupby(CELL, sort=False):
        shared = cell.dropna(subset=["value", "value_now"])
        kept = [tuple(run) in proven for run in shared[RUN].itertuples(index=False, name=None)]
        alike = [(shared[name] == shared[f"{name}_now"]).all() for name in ("run", "code", "machine", "protocol")]
        if not kept or not all(kept) or not all(alike):
            continue
        metric = METRICS[key[2]]
        old, new = (shared[name].to_numpy(float) for name in ("value", "value_now"))
        loss = new - old if metric.better == "lower" else old - new
        if np.all(loss > np.maximum(margin.get(metric.name, NOTICEABLE * np.abs(old)), ROUNDING * np.abs(old))):
            found[key] = "regressed"
        elif len(shared) == len(cell) and np.allclose(old, new, rtol=ROUNDING, atol=0):
            found[key] = "same"
    return found


def _values(frame: pd.DataFrame) -> pd.DataFrame:
    trained = {metric.name for metric in METRICS.values() if metric.kind == "trained" and metric.better is not None}
    there = frame["metric"].isin(trained) & (frame["status"] == "ok") & frame["value"].notna()
    columns = list(dict.fromkeys([*CELL, *RUN, "machine", "protocol", "value"]))
    values = frame.loc[there, columns].drop_duplicates()
    return values.assign(level=values["level"].fillna(0).astype(int))
