"""Claims between rows by the rules of evidence: seeds decide, Holm over the declared contrasts.

docs/evidence.md, rules 2 and 3. The variance between seeds is pooled over the rows of a table, so that three seeds are
not three numbers alone. The k-means baseline, whose spread is of another kind, and rows of outlier variance, which
would hide every effect among the others, are judged by their own variance (Welch-Satterthwaite).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from avq.metrics.registry import METRICS
from avq.reporting.values import BASELINE, rows_of, seed_values

if TYPE_CHECKING:
    from avq.design.ablation import Contrast

Verdict = Literal["better", "worse", "equivalent", "undecided", "undecided (one seed)", "not comparable", "n/a"]
Array = NDArray[np.float64]
OUTLIER_ALPHA = 0.001  # level of the F-test that leaves a row out of the pool


@dataclass(frozen=True)
class Spread:
    """A variance between seeds and its degrees of freedom."""

    variance: float
    df: float


@dataclass(frozen=True)
class Pool:
    """Spreads of one dataset's rows: those that are `pooled` have the `shared` one, the others their own."""

    shared: Spread
    own: dict[str, Spread]
    pooled: frozenset[str]
    outliers: frozenset[str]

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
        verdict: what may be said; `reason` says why where that is not plain.
    """

    name: str
    a: str
    b: str
    metric: str
    verdict: Verdict = "undecided"
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

    Rows of outlier variance and the k-means baseline have their own.
    """
    own = {
        str(row): Spread(float(group.var(ddof=1)) if len(group) > 1 else 0.0, len(group) - 1)
        for row, group in values.groupby("row", sort=False)["value"]
    }
    baselines = set(values.loc[values["variant"] == BASELINE, "row"])
    trained = [row for row in own if row not in baselines]
    variance, df = (np.array([getattr(own[row], name) for row in trained]) for name in ("variance", "df"))
    outliers = frozenset(row for row, out in zip(trained, outlier_variances(variance, df), strict=True) if out)
    pooled = frozenset(trained) - outliers
    total = sum(own[row].df for row in pooled)
    squares = math.fsum(own[row].variance * own[row].df for row in pooled)
    return Pool(Spread(squares / total if total else 0.0, total), own, pooled, outliers)


def outlier_variances(variance: Array, df: Array) -> NDArray[np.bool_]:
    """Which rows do not share one variance with the others.

    Rows are taken by their variance from the smaller half upwards; the first that fails an F-test against those below
    it is an outlier, and so are all after it. A row without degrees of freedom never is. `variance` and `df` are
    `[..., rows]`; leading axes are tables of their own.
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
    fails = (place >= (count + 1) // 2) & (place < count) & (below > 0) & (p < OUTLIER_ALPHA)
    out = np.zeros(variance.shape, dtype=bool)
    np.put_along_axis(out, order, np.logical_or.accumulate(fails, axis=-1) & (place < count), axis=-1)
    return out


def judge(
    long: pd.DataFrame,
    declared: Sequence[Contrast],
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
        split: whose values are compared.
    """
    frame = rows_of(long, split)
    tables = {measure: _Values(frame, *measure) for measure in {(one.metric, one.level) for one in declared}}
    raw = [_test(tables[one.metric, one.level], one, alpha, (margin or {}).get(one.metric)) for one in declared]
    p_values, p_equivalence = (holm([getattr(one, name) for one in raw], len(raw)) for name in ("p", "p_equivalence"))
    return [_verdict(*three, alpha) for three in zip(raw, p_values, p_equivalence, strict=True)]


class _Values:
    """One metric's values by row (at one level), and the pools of its protocols, each made once a table."""

    def __init__(self, frame: pd.DataFrame, metric: str, level: int | None) -> None:
        self.metric = METRICS.find(metric)
        self.rows = set(frame["row"])
        values = seed_values(frame, metric)
        self.values = values if level is None else values[values["level"] == level].assign(level=pd.NA)
        self.by_row = dict(iter(self.values.groupby("row", sort=False)))
        self.pools: dict[str, Pool] = {}

    def pool(self, protocol: str) -> Pool:
        if protocol not in self.pools:
            self.pools[protocol] = pool_spreads(self.values[self.values["protocol"] == protocol])
        return self.pools[protocol]

    def objection(self, contrast: Contrast) -> tuple[Verdict, str] | None:
        """The verdict, and why, where a contrast cannot be tested."""
        if self.metric.kind in ("time", "memory"):
            return "n/a", "seeds say nothing about the spread of times and memory"
        if self.metric.better is None:
            return "n/a", f"no direction of {self.metric.name} is better"
        if self.values["level"].notna().any():
            return "n/a", f"{self.metric.name} has a value per level; the contrast names none"
        for row in (contrast.a, contrast.b):
            if row not in self.by_row:
                return "n/a", f"row '{row}' has no value" if row in self.rows else f"there is no row '{row}'"
        protocols = sorted({one for row in (contrast.a, contrast.b) for one in self.by_row[row]["protocol"]})
        return None if len(protocols) == 1 else ("not comparable", f"protocols differ: {' and '.join(protocols)}")


def _test(table: _Values, contrast: Contrast, alpha: float, margin: float | None) -> Judgement:
    """All but correction and verdict; a contrast that cannot be tested has its verdict already."""
    judgement = Judgement(contrast.name, contrast.a, contrast.b, contrast.metric)
    if objection := table.objection(contrast):
        return replace(judgement, verdict=objection[0], reason=objection[1])
    sides = [table.by_row[row] for row in (contrast.a, contrast.b)]
    (mean_a, n_a), (mean_b, n_b) = ((float(side["value"].mean()), len(side)) for side in sides)
    difference, bound = mean_a - mean_b, math.nan if margin is None else margin
    judgement = replace(judgement, n_a=n_a, n_b=n_b, mean_a=mean_a, mean_b=mean_b, difference=difference, margin=bound)
    if min(n_a, n_b) < 2 and table.metric.kind != "deterministic":
        return judgement
    pool = table.pool(sides[0]["protocol"].iloc[0])
    a, b = pool.of(contrast.a), pool.of(contrast.b)
    error, df = map(float, standard_error(a.variance, a.df, n_a, b.variance, b.df, n_b, a is b))
    if error == 0:
        half, p = 0.0, float(difference == 0)
        p_equivalence = float(abs(difference) >= bound)
    else:
        half = float(stats.t.ppf(1 - alpha / 2, df)) * error
        p = 2 * float(stats.t.sf(abs(difference) / error, df))
        # The larger p of the two one-sided tests is that of the nearer bound.
        p_equivalence = float(stats.t.sf((bound - abs(difference)) / error, df))
    return replace(
        judgement,
        low=difference - half,
        high=difference + half,
        p=p,
        p_equivalence=math.nan if margin is None else p_equivalence,
    )


def standard_error(
    variance_a: ArrayLike, df_a: ArrayLike, n_a: float, variance_b: ArrayLike, df_b: ArrayLike, n_b: float,
    shared: ArrayLike,
) -> tuple[Array, Array]:  # fmt: skip
    """Standard error of a difference of means over `n_a` and `n_b` seeds, and its degrees of freedom.

    Where both sides have the one variance that is `shared`, its own; else by Satterthwaite. All of one shape.
    """
    part_a, part_b = np.divide(variance_a, n_a), np.divide(variance_b, n_b)
    total = part_a + part_b
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(part_a > 0, part_a**2 / df_a, 0.0) + np.where(part_b > 0, part_b**2 / df_b, 0.0)
        mixed = np.where(weights > 0, total**2 / weights, np.inf)
    return np.sqrt(total), np.where(shared, df_a, mixed)


def holm(p_values: Sequence[float] | Array, family: int = 0) -> list[float]:
    """Holm's correction over the p values, NaN aside; a larger `family` adds tests that show nothing."""
    corrected = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(corrected)
    if known.any():
        tested = corrected[known]
        rest = np.ones(max(family - len(tested), 0))
        corrected[known] = multipletests(np.append(tested, rest), method="holm")[1][: len(tested)]
    return [float(p) for p in corrected]


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
    return replace(raw, verdict=verdict, reason=reason, alpha=alpha, p_holm=p_holm, p_equivalence=p_equivalence)


def detectable_effect(seeds: int, df: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference, in standard deviations between seeds, that a two-sided t test finds with `power`.

    For two seeds a side or more, `df` degrees of freedom of the pooled variance, and `alpha` before any correction.
    """
    return detectable_shift(df, alpha / 2, power) / math.sqrt(seeds / 2)  # the far tail adds nothing at this power


def detectable_shift(df: float, alpha: float, power: float) -> float:
    """The difference, in its standard errors, that a one-sided t test at `alpha` finds with `power`."""
    critical = float(stats.t.ppf(1 - alpha, df))
    return float(optimize.brentq(lambda shift: stats.nct.sf(critical, df, shift) - power, 0.0, 3 * critical + 3))
