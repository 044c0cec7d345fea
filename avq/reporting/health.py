"""What a table lost as a whole, before and now: rows that came or went, runs that failed, codebooks that collapsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd
from scipy import stats

from avq.reporting.values import failures

Kind = Literal["added", "missing", "failed", "collapsed"]
ROW = ["dataset", "row"]
RUN = [*ROW, "seed"]


@dataclass(frozen=True)
class Note:
    """One row that is judged apart; `fails` says whether it fails the check unless it is allowed."""

    kind: Kind
    dataset: str
    row: str
    reason: str
    fails: bool = True


class Health(NamedTuple):
    """Notes; rows without a sound run now; the records of the sound runs, before and now."""

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
    notes += [Note("added", *key, "the baseline does not have this row") for key in rows_now if key not in rows_before]
    notes += [Note("missing", *key, reason) for key in rows_before if (reason := _seeds_gone(before, now, key))]
    bad: dict[Kind, list[pd.DataFrame]] = {
        "failed": [_failed(frame) for frame in (before, now)],
        "collapsed": [collapsed_runs(frame) for frame in (before, now)],
    }
    for kind, (old, new) in bad.items():
        for key in rows_now:
            bad_before, bad_now = _of(old, key), _of(new, key)
            if len(bad_now):
                counts = (len(bad_now), _of(now, key)["seed"].nunique(), len(bad_before),
                          _of(before, key)["seed"].nunique())  # fmt: skip
                reason = f"{counts[0]} of {counts[1]} runs now, {counts[2]} of {counts[3]} before"
                fails = not len(bad_before) or _more(*counts) < alpha
                notes.append(Note(kind, *key, f"{reason}; {'; '.join(bad_now['reason'])}", fails))
    sound_before, sound_now = (
        _without(frame, pd.concat([pair[at] for pair in bad.values()])) for at, frame in enumerate((before, now))
    )
    runs = sound_now[(sound_now["status"] == "ok") & sound_now["seed"].notna()]
    return Health(notes, set(rows_now) - set(_rows(runs)), sound_before, sound_now)


def _seeds_gone(before: pd.DataFrame, now: pd.DataFrame, key: tuple[str, str]) -> str:
    """Which seeds of the baseline a row lacks now though other rows have them; a table of fewer seeds lacks none."""
    there = now.loc[now["dataset"] == key[0], "seed"].dropna()
    here = _of(now, key)["seed"].dropna()
    gone = sorted((set(_of(before, key)["seed"].dropna()) & set(there)) - set(here)) if len(here) else []
    return f"no run of seed {', '.join(map(str, gone))}, which the baseline and other rows have" if gone else ""


def collapsed_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Runs (`dataset, row, seed, reason`) with a codebook that `avq.metrics.codebook` named as collapsed."""
    return _by_run(frame[(frame["metric"] == "perplexity") & frame["reason"].str.contains("collapsed codebook")])


def _failed(frame: pd.DataFrame) -> pd.DataFrame:
    lost = failures(frame)
    return _by_run(lost[lost["whole"] & lost["seed"].notna()])


def _by_run(lines: pd.DataFrame) -> pd.DataFrame:
    runs = lines.drop_duplicates(RUN)
    reasons = [f"seed {seed}: {why}" for seed, why in zip(runs["seed"], runs["reason"], strict=True)]
    return runs[RUN].assign(reason=reasons)


def _more(bad_now: int, n_now: int, bad_before: int, n_before: int) -> float:
    """Fisher's exact p of no more bad runs now than before."""
    counts = [[bad_now, n_now - bad_now], [bad_before, n_before - bad_before]]
    return float(stats.fisher_exact(counts, alternative="greater").pvalue)


def _rows(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(frame[ROW].drop_duplicates().itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, key: tuple[str, str]) -> pd.DataFrame:
    return frame[(frame["dataset"] == key[0]) & (frame["row"] == key[1])]


def _without(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    bad = set(runs[RUN].itertuples(index=False, name=None))
    keys = frame[RUN].astype(object).where(frame[RUN].notna(), None)
    return frame[[key not in bad for key in keys.itertuples(index=False, name=None)]]
