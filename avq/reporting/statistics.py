"""Claims between rows by the rules of evidence: seeds decide, Holm over the declared contrasts.

design.md, section 3, rules 2 and 3. Variance is pooled over the rows of a table, so that three seeds are not
three numbers alone. Left out of the pool, and judged by their own variance (Welch-Satterthwaite), are the
floor, whose k-means has another kind of spread, and rows whose spread is out of line, which would hide every
effect among the others and be called too sure themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from avq.metrics.registry import METRICS
from avq.reporting.values import FLOOR, rows_of, seed_values

Verdict = Literal["better", "worse", "equivalent", "undecided", "undecided (one seed)", "not comparable", "n/a"]
Floats = NDArray[np.float64] | np.float64
OUT_OF_LINE = 0.001  # level of the F-test that keeps a row out of the pool


class DeclaredContrast(Protocol):
    """What an ablation file declares: row `a` against row `b` in `metric`, at `level` where it has levels."""

    @property
    def name(self) -> str: ...
    @property
    def a(self) -> str: ...
    @property
    def b(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def level(self) -> int | None: ...


@dataclass(frozen=True)
class Contrast:
    """A declared contrast made by hand (an ablation file's own kind serves as well)."""

    name: str
    a: str
    b: str
    metric: str = "mae"
    level: int | None = None


@dataclass(frozen=True)
class Spread:
    """A variance between seeds and its degrees of freedom."""

    variance: float
    df: float


@dataclass(frozen=True)
class Pool:
    """Spreads of one dataset's rows: those in the pool share `shared`, the `uneven` ones have their own."""

    shared: Spread
    own: dict[str, Spread]
    pooled: frozenset[str]
    uneven: frozenset[str]

    def of(self, row: str) -> Spread:
        """The spread by which `row` is judged."""
        return self.shared if row in self.pooled else self.own[row]


@dataclass(frozen=True)
class Judgement:
    """One contrast, judged: is `a` better than `b`?

    Attributes:
        difference: mean of a minus mean of b over seeds; `low` and `high` bound it at 1 - alpha, uncorrected.
        p: two-sided; `p_holm` the same, corrected over all declared contrasts.
        p_equivalence: of the two one-sided tests against the margin, corrected likewise.
        verdict: what may be said; `reason` tells why where that is not plain.
    """

    name: str
    a: str
    b: str
    metric: str
    verdict: Verdict
    reason: str = ""
    n_a: int = 0
    n_b: int = 0
    mean_a: float = math.nan
    mean_b: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    margin: float = math.nan
    p_equivalence: float = math.nan
    alpha: float = math.nan


def pool_spreads(values: pd.DataFrame) -> Pool:
    """Pool the variance between seeds over the rows of `values` (`row, variant, value`; one metric).

    Rows whose spread is out of line (`out_of_line`) and the floor have their own.
    """
    own = {
        str(row): Spread(float(group.var(ddof=1)) if len(group) > 1 else 0.0, len(group) - 1)
        for row, group in values.groupby("row", sort=False)["value"]
    }
    floors = set(values.loc[values["variant"] == FLOOR, "row"])
    trained = [row for row in own if row not in floors]
    variance, df = (np.array([getattr(own[row], name) for row in trained]) for name in ("variance", "df"))
    uneven = frozenset(row for row, out in zip(trained, out_of_line(variance, df), strict=True) if out)
    pooled = frozenset(trained) - uneven
    return Pool(_pooled([own[row] for row in pooled]), own, pooled, uneven)


def out_of_line(variance: NDArray[np.float64], df: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows do not share one variance with the others.

    Rows are taken from the quiet half upwards; from the first whose variance fails an F-test against those
    below it, rows are out of line. A row without degrees of freedom never is.

    Args:
        variance: of each row, `[..., rows]`; leading axes are tables of their own.
        df: its degrees of freedom, of the same shape.
    """
    if not variance.size:
        return np.zeros(variance.shape, dtype=bool)
    known = df > 0
    order = np.argsort(np.where(known, variance, np.inf), axis=-1, kind="stable")
    ranked, ranked_df = (np.take_along_axis(x, order, axis=-1) for x in (variance, np.where(known, df, 0.0)))
    squares, total = np.cumsum(ranked * ranked_df, axis=-1), np.cumsum(ranked_df, axis=-1)
    count = known.sum(axis=-1, keepdims=True)
    place = np.arange(variance.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (squares - ranked * ranked_df) / (total - ranked_df)
        p = stats.f.sf(ranked / below, ranked_df, total - ranked_df)
    fails = (place >= (count + 1) // 2) & (place < count) & (below > 0) & (p < OUT_OF_LINE)
    out = np.zeros(variance.shape, dtype=bool)
    np.put_along_axis(out, order, np.logical_or.accumulate(fails, axis=-1) & (place < count), axis=-1)
    return out


def _pooled(spreads: Sequence[Spread]) -> Spread:
    df = sum(s.df for s in spreads)
    return Spread(math.fsum(s.variance * s.df for s in spreads) / df if df else 0.0, df)


def judge(
    long: pd.DataFrame,
    declared: Sequence[DeclaredContrast],
    alpha: float = 0.05,
    margin: Mapping[str, float] | None = None,
    split: str = "test",
) -> list[Judgement]:
    """Judge every declared contrast, in the order declared.

    `equivalent` (both one-sided tests against the margin hold) goes before `better` and `worse`: the margin is
    what the ablation's author called too small to matter.

    Args:
        long: records in long form with a `row` column.
        declared: the contrasts; Holm's correction is over all of them, also those whose rows are not there, so
            that a part of a table is judged as strictly as the whole.
        alpha: family-wise error rate.
        margin: by metric, the difference within which two rows are "as good as"; none, no equivalence.
        split: the split whose values are compared.
    """
    frame = rows_of(long, split)
    measures = {(contrast.metric, contrast.level) for contrast in declared}
    tables = {measure: _Values(frame, *measure) for measure in measures}
    raw = [
        _test(tables[contrast.metric, contrast.level], contrast, alpha, (margin or {}).get(contrast.metric))
        for contrast in declared
    ]
    holm = _holm([judgement.p for judgement in raw])
    holm_equivalence = _holm([judgement.p_equivalence for judgement in raw])
    return [_verdict(*triple, alpha) for triple in zip(raw, holm, holm_equivalence, strict=True)]


class _Values:
    """One metric's values by row (at one level), and the pools of its protocols, each made once a table."""

    def __init__(self, frame: pd.DataFrame, metric: str, level: int | None) -> None:
        self.metric = METRICS.find(metric)
        self.known = set(frame["row"])
        values = seed_values(frame, metric)
        self.values = values if level is None else values[values["level"] == level].assign(level=pd.NA)
        self.by_row = dict(iter(self.values.groupby("row", sort=False)))
        self.pools: dict[str, Pool] = {}

    def pool(self, protocol: str) -> Pool:
        if protocol not in self.pools:
            self.pools[protocol] = pool_spreads(self.values[self.values["protocol"] == protocol])
        return self.pools[protocol]


def _test(table: _Values, contrast: DeclaredContrast, alpha: float, margin: float | None) -> Judgement:
    """All but correction and verdict; a contrast that cannot be tested has its verdict already."""
    metric = table.metric

    def without_test(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(contrast.name, contrast.a, contrast.b, contrast.metric, verdict, reason)

    if metric.kind in ("time", "memory"):
        return without_test("n/a", "seeds say nothing about the spread of times and memory")
    if metric.better is None:
        return without_test("n/a", f"no direction of {metric.name} is better")
    if table.values["level"].notna().any():
        return without_test("n/a", f"{metric.name} has a value per level; the contrast names none")
    for row in (contrast.a, contrast.b):
        if row not in table.by_row:
            known = row in table.known
            return without_test("n/a", f"row '{row}' has no value" if known else f"there is no row '{row}'")
    sides = [table.by_row[row] for row in (contrast.a, contrast.b)]
    protocols = sorted({protocol for side in sides for protocol in side["protocol"]})
    if len(protocols) > 1:
        return without_test("not comparable", f"protocols differ: {' and '.join(protocols)}")
    return _numbers(contrast, sides, table.pool(protocols[0]), alpha, margin, metric.kind == "deterministic")


def _numbers(
    contrast: DeclaredContrast,
    sides: Sequence[pd.DataFrame],
    pool: Pool,
    alpha: float,
    margin: float | None,
    exact: bool,
) -> Judgement:
    (mean_a, n_a), (mean_b, n_b) = ((float(side["value"].mean()), len(side)) for side in sides)
    difference = mean_a - mean_b
    judgement = Judgement(
        *(contrast.name, contrast.a, contrast.b, contrast.metric, "undecided", ""),
        *(n_a, n_b, mean_a, mean_b, difference),
        margin=math.nan if margin is None else margin,
    )
    if min(n_a, n_b) < 2 and not exact:
        return judgement
    a, b = pool.of(contrast.a), pool.of(contrast.b)
    var_a, df_a, seeds_a, var_b, df_b, seeds_b = map(np.float64, (a.variance, a.df, n_a, b.variance, b.df, n_b))
    error, df = map(float, standard_error(var_a, df_a, seeds_a, var_b, df_b, seeds_b, np.bool_(a is b)))
    if error == 0:
        half, p = 0.0, float(difference == 0)
        p_equivalence = float(abs(difference) >= judgement.margin)
    else:
        half = float(stats.t.ppf(1 - alpha / 2, df)) * error
        p = 2 * float(stats.t.sf(abs(difference) / error, df))
        # The larger p of the two one-sided tests is that of the nearer bound.
        p_equivalence = float(stats.t.sf((judgement.margin - abs(difference)) / error, df))
    return replace(
        judgement,
        low=difference - half,
        high=difference + half,
        p=p,
        p_equivalence=math.nan if margin is None else p_equivalence,
    )


def standard_error(
    variance_a: Floats,
    df_a: Floats,
    n_a: Floats,
    variance_b: Floats,
    df_b: Floats,
    n_b: Floats,
    shared: NDArray[np.bool_] | np.bool_,
) -> tuple[Floats, Floats]:
    """Standard error of a difference of means over `n_a` and `n_b` seeds, and its degrees of freedom.

    Where both sides have the one variance that is `shared`, its own; else by Satterthwaite. All of one shape.
    """
    part_a, part_b = variance_a / n_a, variance_b / n_b
    total = part_a + part_b
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(part_a > 0, part_a**2 / df_a, 0.0) + np.where(part_b > 0, part_b**2 / df_b, 0.0)
        mixed = np.where(weights > 0, total**2 / weights, np.inf)
    return np.sqrt(total), np.where(shared, df_a, mixed)


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction over all contrasts; one without a p value counts as one that shows nothing."""
    tested = [p for p in p_values if not math.isnan(p)]
    family = [*tested, *[1.0] * (len(p_values) - len(tested))]
    corrected = iter(multipletests(family, method="holm")[1] if tested else [])
    return [math.nan if math.isnan(p) else float(next(corrected)) for p in p_values]


def _verdict(raw: Judgement, p_holm: float, p_equivalence: float, alpha: float) -> Judgement:
    verdict, reason = raw.verdict, raw.reason
    if raw.n_a and math.isnan(raw.p):
        verdict, reason = "undecided (one seed)", "one seed a side has no spread"
    elif p_equivalence < alpha:
        verdict = "equivalent"
        reason = "a difference, but within the margin" if p_holm < alpha else ""
    elif p_holm < alpha:
        a_is_better = (raw.difference < 0) == (METRICS.find(raw.metric).better == "lower")
        verdict = "better" if a_is_better else "worse"
    judged = replace(raw, verdict=verdict, reason=reason, alpha=alpha)
    return replace(judged, p_holm=p_holm, p_equivalence=p_equivalence)


def detectable_effect(seeds: int, df: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference, in standard deviations between seeds, that a two-sided t test finds with `power`.

    Args:
        seeds: seeds a side, at least two.
        df: degrees of freedom of the pooled variance.
        alpha: error rate of the one test, before any correction for several contrasts.
        power: chance of finding it.
    """
    return detectable_shift(df, alpha / 2, power) / math.sqrt(seeds / 2)  # the far tail adds nothing at this power


def detectable_shift(df: float, alpha: float, power: float) -> float:
    """The difference, in its standard errors, that a one-sided t test at `alpha` finds with `power`."""
    critical = float(stats.t.ppf(1 - alpha, df))

    def missing(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - power

    return float(optimize.brentq(missing, 0.0, 3 * critical + 3))
