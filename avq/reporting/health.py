"""What a table lost as a whole, before and now: rows that came or went, runs that failed, codebooks that collapsed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd
from scipy import stats

from avq.reporting.values import failures

Kind = Literal["added", "missing", "failed", "collapsed"]
#: What `avq.metrics.codebook` writes beside the values of such a level.
COLLAPSED = "collapsed codebook"
ROW = ["dataset", "row"]


@dataclass(frozen=True)
class Note:
    """One row that is judged apart; `fails` tells whether it fails the check unless it is allowed."""

    kind: Kind
    dataset: str
    row: str
    reason: str
    fails: bool = True


class Health(NamedTuple):
    """Notes; rows of which no sound run is left now; the records of the sound runs, before and now."""

    notes: list[Note]
    lost: set[tuple[str, str]]
    before: pd.DataFrame
    now: pd.DataFrame


def run_notes(before: pd.DataFrame, now: pd.DataFrame, alpha: float) -> Health:
    """Compare which rows there are and how many runs of each are sound.

    A row without a bad run in the baseline fails with its first; one that had some fails when Fisher's exact
    test finds more of them than before at `alpha`. Bad runs are counted here and left out of what is tested:
    their values would hide every other loss.
    """
    rows_before, rows_now = _rows(before), _rows(now)
    notes = [Note("missing", *key, "the baseline has this row") for key in rows_before if key not in rows_now]
    notes += [Note("added", *key, "the baseline has no such row") for key in rows_now if key not in rows_before]
    bad: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {
        "failed": (_failed(before), _failed(now)),
        "collapsed": (collapsed_runs(before), collapsed_runs(now)),
    }
    for kind, (old, new) in bad.items():
        notes += _more(kind, rows_now, before, now, old, new, alpha)  # type: ignore[arg-type]
    sound_before = _without(before, pd.concat([pair[0] for pair in bad.values()]))
    sound_now = _without(now, pd.concat([pair[1] for pair in bad.values()]))
    runs = sound_now.loc[(sound_now["status"] == "ok") & sound_now["seed"].notna(), ROW].drop_duplicates()
    lost = set(rows_now) - set(_rows(runs))
    return Health(notes, lost, sound_before, sound_now)


def collapsed_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Runs (`dataset, row, seed, reason`) with a codebook that the evaluation named as collapsed."""
    named = frame[(frame["metric"] == "perplexity") & frame["reason"].str.contains(COLLAPSED, regex=False)]
    return _by_run(named)


def _failed(frame: pd.DataFrame) -> pd.DataFrame:
    lost = failures(frame)
    return _by_run(lost[lost["whole"] & lost["seed"].notna()])


def _by_run(lines: pd.DataFrame) -> pd.DataFrame:
    runs = lines.drop_duplicates([*ROW, "seed"])
    reasons = [f"seed {seed}: {why}" for seed, why in zip(runs["seed"], runs["reason"], strict=True)]
    return runs[[*ROW, "seed"]].assign(reason=reasons)


def _more(
    kind: Kind,
    rows: list[tuple[str, str]],
    before: pd.DataFrame,
    now: pd.DataFrame,
    old: pd.DataFrame,
    new: pd.DataFrame,
    alpha: float,
) -> Iterator[Note]:
    for key in rows:
        bad_now, bad_before = _of(new, key), _of(old, key)
        if not len(bad_now):
            continue
        n_now, n_before = (_of(frame, key)["seed"].nunique() for frame in (now, before))
        counts = [[len(bad_now), n_now - len(bad_now)], [len(bad_before), n_before - len(bad_before)]]
        fails = not len(bad_before) or bool(stats.fisher_exact(counts, alternative="greater").pvalue < alpha)
        told = f"{len(bad_now)} of {n_now} runs now, {len(bad_before)} of {n_before} before"
        yield Note(kind, *key, f"{told}; {'; '.join(bad_now['reason'])}", fails)


def _rows(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(frame[ROW].drop_duplicates().itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, key: tuple[str, str]) -> pd.DataFrame:
    return frame[(frame["dataset"] == key[0]) & (frame["row"] == key[1])]


def _without(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    bad = set(runs[[*ROW, "seed"]].itertuples(index=False, name=None))
    keys = frame[[*ROW, "seed"]].astype(object).where(frame[[*ROW, "seed"]].notna(), None)
    return frame[[key not in bad for key in keys.itertuples(index=False, name=None)]]
