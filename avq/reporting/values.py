"""From long-form records to the values behind a cell: selection, failures, protocols."""

from __future__ import annotations

import pandas as pd

from avq.errors import NotComparable
from avq.metrics.registry import METRICS

BASELINE = "patch-kmeans"  # the variant that every trained row has to beat (docs/evidence.md, rule 1)


def rows_of(long: pd.DataFrame, split: str) -> pd.DataFrame:
    """The records that a table of `split` is made of: measured on it, on no split, and costs of any split.

    Every line has a dataset and a row label (its variant where there is no `row` column: one run's record). Unknown
    metrics are left out (`unknown_metrics`).
    """
    frame = long.copy()
    for name in ("dataset", "split", "reason", "protocol", "variant"):
        frame[name] = frame[name].fillna("") if name in frame else ""
    if "row" not in frame:
        frame["row"] = frame["variant"]
    costs = frame["metric"].isin([name for name, metric in METRICS.items() if metric.is_cost])
    wanted = frame["split"].isin((split, "")) & frame["metric"].isin(METRICS) | costs
    return frame[wanted | (frame["status"] == "failed")]


def unknown_metrics(*tables: pd.DataFrame) -> list[str]:
    """A line about metrics that `rows_of` leaves out: of a plug-in that is not loaded, or of a newer version."""
    names = sorted({str(name) for long in tables for name in long["metric"].dropna()} - set(METRICS))
    return [f"Left out, as unknown here (load a plug-in with --plugin): {', '.join(names)}."] if names else []


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """One line (`dataset, row, seed, metric, reason, whole`) per failed run (`whole`) or failed cell."""
    run = ["dataset", "row", "seed"]
    failed = frame[frame["status"] == "failed"].drop_duplicates([*run, "reason"])
    sound = frame.loc[frame["status"] != "failed", run].drop_duplicates().assign(whole=False)
    lines = failed[[*run, "metric", "reason"]].merge(sound, how="left", on=run)
    return lines.assign(whole=lines["whole"].isna())


def seed_values(frame: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """Valid values, one per metric, level and seed: `metric, dataset, row, variant, level, seed, protocol, value`.

    Raises:
        NotComparable: a row has two values for one seed, so two experiments or presets were mixed.
    """
    keys = ["metric", "dataset", "row", "level", "seed"]
    good = frame[frame["metric"].isin(metrics) & (frame["status"] == "ok") & frame["value"].notna()]
    good = good.drop_duplicates([*keys, "protocol", "value"])
    twice = good[good.duplicated([*keys, "protocol"], keep=False)]
    if len(twice):
        first = twice.iloc[0]
        raise NotComparable(
            f"row '{first['row']}' has several values of {first['metric']} for seed {first['seed']}: results of "
            "different experiments, presets or machines are mixed; give one of them."
        )
    return good[["metric", "dataset", "row", "variant", "level", "seed", "protocol", "value"]]


def whole_values(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`seed_values` of the model as a whole, without those of single levels."""
    values = seed_values(frame, metric)
    return values[values["level"].isna()]


def mean_by_row(values: pd.DataFrame) -> pd.Series:
    """Mean over seeds by row, in the order of the rows."""
    return values.groupby("row", sort=False)["value"].mean()


def protocols_differ(values: pd.DataFrame) -> bool:
    """Whether values of one dataset were obtained under several protocol ids."""
    return bool((values.groupby("dataset", sort=False)["protocol"].nunique() > 1).any())


def one_protocol(values: pd.DataFrame, metric: str) -> None:
    """Refuse a column with two protocols.

    Raises:
        NotComparable: values of one dataset were obtained under different protocol ids; both are named.
    """
    for _, group in values.groupby("dataset", sort=False):
        found = group.drop_duplicates("protocol")
        if len(found) > 1:
            first, second = found.iloc[0], found.iloc[1]
            raise NotComparable(
                f"{metric} was measured under two protocols, which one column cannot hold: "
                f"{first['protocol']} (row '{first['row']}') and {second['protocol']} (row '{second['row']}')."
            )
