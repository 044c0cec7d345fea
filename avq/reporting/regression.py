"""Has a table become worse than its baseline? Every cell is judged, under one error rate for the whole table.

Trained metrics: a one-sided test over seeds in the direction that is worse (`noise.losses`), with Holm's correction
over every trained cell of the table, so that alpha is the share of unchanged *tables* that fail, not of cells. A row
of outlier variance in one metric of the baseline is judged by its own spread in all of them. A loss shown to be smaller
than the margin of the ablation file does not count. Deterministic metrics must be equal; costs are judged on the same
machine only. Checkpoints that both tables measured are compared one by one (`paired`). How often this errs and what it
catches: docs/check.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from avq.errors import NotComparable
from avq.metrics.registry import METRICS, Metric
from avq.reporting.cells import Cell, Check, Verdict
from avq.reporting.health import run_notes
from avq.reporting.noise import Noise, holm, losses, outlier_variances, p_above
from avq.reporting.paired import CELL, ROUNDING, Key, measured_again, same_checkpoints
from avq.reporting.values import BASELINE, rows_of, seed_values

#: Share by which a cost may rise on the same machine.
TOLERANCE = {"time": 0.50, "memory": 0.10}


def check(
    baseline: pd.DataFrame,
    current: pd.DataFrame,
    *,
    alpha: float = 0.01,
    margin: Mapping[str, float] | None = None,
    split: str = "test",
    allowed: Collection[str] = (),
) -> Check:
    """Judge `current` against `baseline`, long-form records of one experiment each.

    Args:
        alpha: the share of unchanged tables that may fail for a trained metric.
        margin: by metric, the loss that is too small to matter.
        split: whose trained metrics are judged.
        allowed: kinds of findings that do not fail, as `Check.allowed`.

    Raises:
        NotComparable: one of them is empty, or mixes several experiments, presets or protocols in one row.
    """
    before, now = rows_of(baseline, split), rows_of(current, split)
    for what, frame in (("the baseline has", before), ("the results have", now)):
        if frame.empty:
            raise NotComparable(f"{what} no records of {split} images.")
    notes, lost, sound_before, sound_now = run_notes(before, now, alpha)
    cells: list[Cell] = []
    for is_trained, frames in ((True, (sound_before, sound_now)), (False, (before, now))):
        metrics = [name for name, metric in METRICS.items() if (metric.kind == "trained") == is_trained]
        cells += _cells(*frames, metrics, lost, alpha)
    order = list(METRICS)
    cells.sort(key=lambda cell: order.index(cell.metric))
    name = str(current["experiment"].iloc[0]) if "experiment" in current else ""
    trained = [name for name, metric in METRICS.items() if metric.kind == "trained" and metric.better is not None]
    costs_alone = not before["metric"].isin(trained).any()
    proof = same_checkpoints(rows_of(baseline, "validation"), rows_of(current, "validation"))
    judged = _again(_corrected(cells, alpha, margin or {}), measured_again(sound_before, sound_now, proof))
    gone = tuple(sorted(set(before["seed"].dropna()) - set(now["seed"].dropna())))
    return Check(name, alpha, tuple(judged), tuple(notes), frozenset(allowed), costs_alone, gone)


def _cells(
    before: pd.DataFrame, now: pd.DataFrame, metrics: Collection[str], lost: Collection[tuple[str, str]], alpha: float
) -> Iterator[Cell]:
    """The cells of these metrics, those of one metric in order; trained ones not yet corrected."""
    old, new = _summary(before, metrics), _summary(now, metrics)
    both = old.join(new, how="inner", lsuffix="_before", rsuffix="_now")

    def only_in(one: pd.DataFrame, other: pd.DataFrame) -> list[Key]:
        """Keys of one table; a row that is new, gone, or without a sound run is said once, not cell by cell."""
        rows = set(other[["dataset", "row"]].itertuples(index=False, name=None)) - set(lost)
        return [key for key in one.index.difference(both.index, sort=False) if (key[0], key[1]) in rows]

    for key in only_in(old, now):
        if METRICS[key[2]].kind not in TOLERANCE:
            yield _cell(key, "missing", "the baseline has a value", before=float(old["mean"][key]))
    for key in only_in(new, before):
        yield _cell(key, "added", "the baseline has no value", now=float(new["mean"][key]))
    other = both["protocol_before"] != both["protocol_now"]
    for key, line in both[other].iterrows():
        verdict: Verdict = "advice" if METRICS[key[2]].kind in TOLERANCE else "other protocol"
        yield _pair(key, line, verdict, f"{line['protocol_before']} before, {line['protocol_now']} now")
    outliers = _outliers(old)
    for (name, _, _), group in both[~other].groupby(["metric", "dataset", "level"], sort=False):
        if METRICS[name].kind == "trained":
            yield from _trained(METRICS[name], group, outliers, alpha)
        else:
            yield from (_exact if METRICS[name].kind == "deterministic" else _costs)(METRICS[name], group)


def _outliers(before: pd.DataFrame) -> set[tuple[str, str]]:
    """Rows of outlier variance in any tested metric of the baseline, and the k-means baseline (of `_summary`)."""
    found = set(before.index[before["kmeans"]].droplevel(["metric", "level"]))
    for (name, _, _), group in before.groupby(["metric", "dataset", "level"], sort=False):
        if METRICS[name].kind == "trained" and METRICS[name].better and not METRICS[name].not_judged:
            df = np.where(group["kmeans"], 0.0, group["n"] - 1.0)
            out = outlier_variances(group["variance"].to_numpy(float), df)
            found |= set(group.index[out].droplevel(["metric", "level"]))
    return found


def _summary(frame: pd.DataFrame, metrics: Collection[str]) -> pd.DataFrame:
    """By `CELL` (level 0 for none): `n, mean, variance, values, seeds, runs, protocol, kmeans, machine, code`.

    `seeds` are those with a value, `runs` those of the row.
    """
    values = seed_values(frame, *metrics)
    values = values.assign(level=values["level"].fillna(0).astype(int))
    sources = frame[frame["status"] == "ok"].groupby(CELL[:3])[["machine", "code"]].agg(_joined)
    runs = frame.dropna(subset=["seed"]).groupby(CELL[:2])["seed"].agg(lambda seeds: tuple(seeds.unique()))
    groups = values.groupby(CELL, sort=False)
    summary = groups["value"].agg(n="size", mean="mean", variance="var")
    return summary.assign(
        variance=summary["variance"].fillna(0.0),
        values=groups["value"].agg(lambda column: tuple(sorted(set(column)))),
        seeds=groups["seed"].agg(tuple),
        runs=[runs.get(key[:2], ()) for key in summary.index],
        protocol=groups["protocol"].agg(_joined),
        kmeans=groups["variant"].first() == BASELINE,
        **sources.loc[[key[:3] for key in summary.index]].reset_index(drop=True).set_index(summary.index),
    )


def _joined(names: pd.Series) -> str:
    return " and ".join(sorted(set(names)))


def _trained(
    metric: Metric, group: pd.DataFrame, outliers: Collection[tuple[str, str]], alpha: float
) -> Iterator[Cell]:
    if metric.better is None:
        return
    cells = [_pair(key, line, *_gaps(line)) for key, line in group.iterrows()]
    if metric.not_judged:
        yield from (replace(cell, verdict="not judged", reason=metric.not_judged) for cell in cells)
        return
    own = np.array([(cell.dataset, cell.row) in outliers for cell in cells])
    loss = np.array([cell.loss for cell in cells])
    loss[np.abs(loss) <= ROUNDING * group["mean_before"].abs()] = 0.0
    old, n_old, new, n_new = (
        group[name].to_numpy(float) for name in ("variance_before", "n_before", "variance_now", "n_now")
    )
    found, gain = (losses(sign * loss, old, n_old, new, n_new, own, alpha) for sign in (1, -1))
    for cell, *numbers in zip(cells, *found.noise, found.p, found.p_own, gain.p, strict=True):
        error, df, p, p_own, p_gain = map(float, numbers)
        yield replace(cell, error=error, df=df, p=p, p_own=p_own, p_gain=p_gain)


def _gaps(line: pd.Series) -> tuple[Verdict, str]:
    """`missing`, and of which seeds, where sound runs of now have no value that the baseline has; else `undecided`."""
    before, now = set(line["seeds_before"]), set(line["seeds_now"])
    expected = set(line["runs_now"]) if before >= set(line["runs_before"]) else before & set(line["runs_now"])
    gone = ", ".join(str(seed) for seed in sorted(expected - now))
    if gone:
        return "missing", f"no value of seed {gone}, which the baseline has"
    return "undecided", "" if line["code_before"] == line["code_now"] else "trained by other code"


def _exact(metric: Metric, group: pd.DataFrame) -> Iterator[Cell]:
    for key, line in group.iterrows():
        old, new = line["values_before"], line["values_now"]
        same = len(old) == len(new) and bool(np.allclose(old, new, rtol=1e-9, atol=0))
        yield _pair(key, line, "equal" if same else "changed", "" if same else "it must be equal")


def _costs(metric: Metric, group: pd.DataFrame) -> Iterator[Cell]:
    for key, line in group.iterrows():
        cell = _pair(key, line, "advice")
        if metric.not_judged:
            yield replace(cell, reason=metric.not_judged)
        elif metric.better is None:
            yield replace(cell, reason="a prediction for a machine, not a cost")
        elif line["machine_before"] != line["machine_now"]:
            yield replace(cell, reason=f"{line['machine_before']} before, {line['machine_now']} now")
        else:
            less, more = (cell.now, cell.before) if metric.better == "higher" else (cell.before, cell.now)
            ratio = more / less if less else np.inf if more else 1.0  # a small latent may take nothing to speak of
            tolerance = TOLERANCE[metric.kind]
            reason = f"beyond the {tolerance:.0%} that a cost may rise on one machine" if ratio > 1 + tolerance else ""
            yield replace(cell, verdict="costlier" if reason else "similar", reason=reason)


def _pair(key: Key, line: pd.Series, verdict: Verdict, reason: str = "") -> Cell:
    before, now = float(line["mean_before"]), float(line["mean_now"])
    loss = {"lower": now - before, "higher": before - now, None: np.nan}[METRICS[key[2]].better]
    counts = {name: int(line[name]) for name in ("n_before", "n_now")}
    return _cell(key, verdict, reason, before=before, now=now, loss=loss, **counts)


def _cell(key: Key, verdict: Verdict, reason: str, **numbers: Any) -> Cell:
    dataset, row, metric, level = key
    return Cell(dataset, row, metric, int(level) or None, verdict, reason, **numbers)


def _corrected(cells: list[Cell], alpha: float, margin: Mapping[str, float]) -> list[Cell]:
    """The verdicts on trained cells, by Holm over all of them; the others as they are."""
    p, gain = (holm([getattr(cell, name) for cell in cells]) for name in ("p", "p_gain"))
    loss, error, df = (np.array([getattr(cell, name) for cell in cells]) for name in ("loss", "error", "df"))
    bounds = np.array([margin.get(cell.metric, np.nan) for cell in cells])
    found = Noise(error, df)
    within, plain = holm(p_above(bounds - loss, found)), holm(p_above(loss, found))
    judged = []
    for cell, *numbers in zip(cells, p, gain, within, plain, bounds, strict=True):
        p_holm, p_gain, p_within, p_plain, bound = map(float, numbers)
        verdict, reason = cell.verdict, cell.reason if cell.verdict != "undecided" else ""
        if np.isnan(cell.p):
            judged.append(replace(cell, reason="no spread between seeds") if verdict == "undecided" else cell)
            continue
        if p_holm < alpha and not p_within < alpha:
            verdict = "regressed"
        elif verdict == "missing":
            pass
        elif p_gain < alpha:
            verdict, reason = "better", cell.reason
        elif p_within < alpha:
            verdict, reason = "no worse", "a loss, but within the margin" if p_holm < alpha else ""
        elif p_plain < alpha:
            reason = "the row's own spread between seeds is as large"
        judged.append(replace(cell, verdict=verdict, reason=reason, p_holm=p_holm, margin=bound))
    return judged


def _again(cells: list[Cell], sure: Mapping[Key, tuple[Verdict, str]]) -> Iterator[Cell]:
    """The cells as `paired` knows them, where both tables measured the same checkpoints or the values are the same.

    A metric that measures one checkpoint differently is another metric: no cell of it is `better`.
    """
    changed = {key[2] for key, (verdict, _) in sure.items() if verdict != "same"}
    for cell in cells:
        verdict, reason = sure.get((cell.dataset, cell.row, cell.metric, cell.level or 0), (cell.verdict, cell.reason))
        if cell.verdict in ("not judged", "other protocol", "missing"):
            yield cell
        elif (verdict, reason) != (cell.verdict, cell.reason):
            yield replace(cell, verdict=verdict, reason=reason, p_holm=np.nan)
        elif verdict == "better" and cell.metric in changed:
            yield replace(cell, verdict="undecided", reason="this metric measures the same checkpoints differently")
        else:
            yield cell
