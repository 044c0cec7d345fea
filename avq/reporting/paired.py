"""Runs that both tables hold, of one and the same checkpoint: a difference there is no noise between seeds.

A run's name is the hash of configuration, data and training code, but not of the libraries: trained anew under another
torch, it is another model by the same name. What proves that two records measured the same weights is
`validation-mae`: training records it, and measuring a checkpoint again leaves it as it is, to the last digit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from avq.metrics.registry import METRICS
from avq.reporting.cells import Verdict

Key = tuple[str, str, str, int]
RUN = ["dataset", "row", "seed", "run", "code"]
CELL = ["dataset", "row", "metric", "level"]
NOTICEABLE = 1e-4  # the share of a value by which the same checkpoint may differ: more than threads and libraries round
ROUNDING = 1e-6  # relative: what another CPU's rounding may do where nothing else varies


def same_checkpoints(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Runs (`RUN`) whose `validation-mae` is the same number in both tables, under the same protocol."""
    names = [*RUN, "protocol", "value"]
    sides = [_values(frame, ["validation-mae"])[names].drop_duplicates() for frame in (before, now)]
    return sides[0].merge(sides[1], on=names)[RUN]


def measured_again(
    before: pd.DataFrame, now: pd.DataFrame, checkpoints: pd.DataFrame
) -> dict[Key, tuple[Verdict, str]]:
    """What is sure of cells (`CELL`, level 0 for none) without a test over seeds: the verdict and why.

    `same`: the same seeds and the same values. `regressed` or `changed`: one seed or more whose checkpoint, code,
    machine and protocol are the same has another value, by more than `NOTICEABLE`; a loss, or no loss.

    Args:
        before, now: records of sound runs.
        checkpoints: of `same_checkpoints`.
    """
    trained = [metric.name for metric in METRICS.values() if metric.kind == "trained" and metric.better is not None]
    proven = set(checkpoints.itertuples(index=False, name=None))
    sides = [_values(frame, trained) for frame in (before, now)]
    both = sides[0].merge(sides[1], on=[*CELL, "seed"], how="outer", suffixes=("", "_now"))
    alike = np.array([run in proven for run in both[RUN].itertuples(index=False, name=None)], dtype=bool)
    for name in ("run", "code", "machine", "protocol"):
        alike &= (both[name] == both[f"{name}_now"]).to_numpy(bool)
    both["changed"] = alike & ~np.isclose(both["value_now"], both["value"], rtol=NOTICEABLE, atol=0)
    both["same"] = np.isclose(both["value_now"], both["value"], rtol=ROUNDING, atol=0)
    found: dict[Key, tuple[Verdict, str]] = {}
    for key, cell in both.groupby(CELL, sort=False):
        changed = cell[cell["changed"]]
        if len(changed):
            up = changed["value_now"] > changed["value"]
            worse = up if METRICS[key[2]].better == "lower" else ~up
            seeds = ", ".join(map(str, changed["seed"]))
            reason = f"the same checkpoints, measured differently (seed {seeds})"
            found[key] = "regressed" if worse.any() else "changed", reason
        elif cell["same"].all():
            found[key] = "same", ""
    return found


def _values(frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    there = frame["metric"].isin(metrics) & (frame["status"] == "ok") & frame["value"].notna()
    columns = list(dict.fromkeys([*CELL, *RUN, "machine", "protocol", "value"]))
    values = frame.loc[there, columns].drop_duplicates()
    return values.assign(level=values["level"].fillna(0).astype(int))
