"""Runs that both tables hold, of one and the same checkpoint: a difference there is no noise between seeds.

A run's name is the hash of configuration, data and training code, but not of the libraries: trained anew under another
torch, it is another model by the same name. What proves that two records measured the same weights is
`validation-mae`: training records it, and measuring a checkpoint again leaves it as it is, to the last digit.
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
ROUNDING = 1e-6  # relative: what another CPU's rounding may do where nothing else varies


def same_checkpoints(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Runs (`RUN`) whose `validation-mae` is the same number in both tables, under the same protocol."""
    names = [*RUN, "protocol", "value"]
    sides = [_values(frame, ["validation-mae"])[names].drop_duplicates() for frame in (before, now)]
    return sides[0].merge(sides[1], on=names)[RUN]


def measured_again(
    before: pd.DataFrame, now: pd.DataFrame, checkpoints: pd.DataFrame, margin: Mapping[str, float]
) -> dict[Key, Literal["same", "regressed"]]:
    """What is sure of cells (`CELL`, level 0 for none) whose shared seeds are all of the same checkpoints.

    `same`: the same seeds and the same values. `regressed`: in every shared seed worse by more than the metric's
    margin, or by more than `NOTICEABLE` of the value without one. Other cells, and those whose machine or protocol
    differ, are left out.

    Args:
        before, now: records of sound runs.
        checkpoints: of `same_checkpoints`.
        margin: by metric.
    """
    trained = [metric.name for metric in METRICS.values() if metric.kind == "trained" and metric.better is not None]
    proven = set(checkpoints.itertuples(index=False, name=None))
    sides = [_values(frame, trained) for frame in (before, now)]
    both = sides[0].merge(sides[1], on=[*CELL, "seed"], how="outer", suffixes=("", "_now"))
    alike = both["value"].notna() & both["value_now"].notna()
    for name in ("run", "code", "machine", "protocol"):
        alike &= both[name] == both[f"{name}_now"]
    runs = both[RUN].itertuples(index=False, name=None)
    both["proven"] = alike & np.array([run in proven for run in runs], dtype=bool)
    found: dict[Key, Literal["same", "regressed"]] = {}
    for key, cell in both.groupby(CELL, sort=False):
        shared = cell.dropna(subset=["value", "value_now"])
        if shared.empty or not shared["proven"].all():
            continue
        metric = METRICS[key[2]]
        old, new = (shared[name].to_numpy(float) for name in ("value", "value_now"))
        loss = new - old if metric.better == "lower" else old - new
        if np.all(loss > np.maximum(margin.get(metric.name, NOTICEABLE * np.abs(old)), ROUNDING * np.abs(old))):
            found[key] = "regressed"
        elif len(shared) == len(cell) and np.allclose(old, new, rtol=ROUNDING, atol=0):
            found[key] = "same"
    return found


def _values(frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    there = frame["metric"].isin(metrics) & (frame["status"] == "ok") & frame["value"].notna()
    columns = list(dict.fromkeys([*CELL, *RUN, "machine", "protocol", "value"]))
    values = frame.loc[there, columns].drop_duplicates()
    return values.assign(level=values["level"].fillna(0).astype(int))
