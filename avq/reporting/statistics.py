"""Claims between rows by the rules of evidence: seeds decide, Holm over the declared contrasts.

docs/evidence.md, rules 2 and 3. `judged` is the one judge: tables, reports, LaTeX and notebooks show what it returns.
Where the trained rows of a table spread alike, their variance between seeds is pooled; else a contrast is Welch's test
of its own two rows. The k-means baseline, whose spread is of another kind, always has its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy import stats

from avq.metrics.registry import METRICS
from avq.reporting.noise import OWN_CONTRAST, Noise, even_spreads, holm, outlier_variances, p_above, standard_error
from avq.reporting.values import BASELINE, rows_of, seed_values

if TYPE_CHECKING:
    from avq.design.ablation import Ablation, Contrast

Verdict = Literal["better", "worse", "equivalent", "undecided", "undecided (one seed)", "not comparable", "n/a"]
FEWEST_SEEDS = 5  # of a row of outlier variance, before anything is claimed about it


@dataclass(frozen=True)
class Spread:
    """A variance between seeds and its degrees of freedom."""

    variance: float
    df: float


@dataclass(frozen=True)
class Pool:
    """Spreads of one dataset's rows: those that are `pooled` have the `shared` one, the others their own.

    All trained rows are pooled, or none; `outliers` vary far more than the others.
    """

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
        p: two-sided; `p_holm` the same, corrected over all `family` declared contrasts, and no smaller than the
            rows' own spread allows.
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
    family: int = 1

    @property
    def winner(self) -> str:
        """The row that is shown to be better; empty where none is."""
        return {"better": self.a, "worse": self.b}.get(self.verdict, "")


def pool_spreads(values: pd.DataFrame) -> Pool:
    """Pool the variance between seeds over the trained rows of `values` (`row, variant, value`; one metric)."""
    own = {
        str(row): Spread(float(group.var(ddof=1)) if len(group) > 1 else 0.0, len(group) - 1)
        for row, group in values.groupby("row", sort=False)["value"]
    }
    baselines = set(values.loc[values["variant"] == BASELINE, "row"])
    trained = [row for row in own if row not in baselines]
    variance, df = (np.array([getattr(own[row], name) for row in trained], dtype=float) for name in ("variance", "df"))
    outliers = frozenset(np.array(trained)[outlier_variances(variance, df)].tolist())
    pooled = frozenset(trained) if even_spreads(variance, df) else frozenset()
    shared = Spread(float((variance * df).sum() / df.sum()), float(df.sum())) if df.sum() else Spread(0.0, 0.0)
    return Pool(shared, own, pooled, outliers)


def judged(
    long: pd.DataFrame, ablation: Ablation | None, split: str = "test", shown: pd.DataFrame | None = None
) -> list[Judgement]:
    """The ablation's contrasts between rows that are in the table, corrected over all that it declares.

    A part of a table is judged as the whole: where only some rows of `long` are `shown`, spreads are still those of
    all. None, an unknown ablation, judges nothing.
    """
    if ablation is None:
        return []
    if shown is not None:  # other seeds are another table
        long = long[long["seed"].isna() | long["seed"].isin(shown["seed"].dropna())]
    there, by = set(long["row"] if shown is None else shown["row"]), ablation.statistics
    return [one for one in judge(long, ablation.contrasts, by.alpha, by.margin, split) if {one.a, one.b} <= there]


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
        declared: the contrasts; Holm's correction is over all of them, also those whose rows are not there.
        alpha: family-wise error rate.
        margin: by metric, the difference within which two rows are "as good as"; none, no equivalence.
        split: whose values are compared.
    """
    frame = rows_of(long, split)
    tables = {measure: _Values(frame, *measure) for measure in {(one.metric, one.level) for one in declared}}
    raw = [_test(tables[one.metric, one.level], one, alpha, (margin or {}).get(one.metric)) for one in declared]
    corrected = [holm([getattr(one.judgement, name) for one in raw], len(raw)) for name in ("p", "p_equivalence")]
    return [_verdict(one, float(p), float(q), alpha, len(raw)) for one, p, q in zip(raw, *corrected, strict=True)]


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


@dataclass(frozen=True)
class _Tested:
    """A contrast before correction; `p_own` is by its own rows alone where p is not, and `outliers` want more seeds."""

    judgement: Judgement
    p_own: float = math.nan
    outliers: tuple[str, ...] = ()


def _test(table: _Values, contrast: Contrast, alpha: float, margin: float | None) -> _Tested:
    """All but correction and verdict; a contrast that cannot be tested has its verdict already."""
    judgement = Judgement(contrast.name, contrast.a, contrast.b, contrast.metric)
    if objection := table.objection(contrast):
        return _Tested(replace(judgement, verdict=objection[0], reason=objection[1]))
    rows = (contrast.a, contrast.b)
    sides = [table.by_row[row] for row in rows]
    (mean_a, n_a), (mean_b, n_b) = ((float(side["value"].mean()), len(side)) for side in sides)
    difference, bound = mean_a - mean_b, math.nan if margin is None else margin
    judgement = replace(judgement, n_a=n_a, n_b=n_b, mean_a=mean_a, mean_b=mean_b, difference=difference, margin=bound)
    if min(n_a, n_b) < 2 and table.metric.kind != "deterministic":
        return _Tested(judgement)
    pool = table.pool(sides[0]["protocol"].iloc[0])

    def noise(a: Spread, b: Spread) -> Noise:
        found = standard_error(a.variance, a.df, n_a, b.variance, b.df, n_b, a is b)
        return found if found.error else found._replace(df=np.array(math.inf))  # what does not vary is sure

    found, own = noise(*map(pool.of, rows)), noise(*(pool.own[row] for row in rows))
    half = float(stats.t.ppf(1 - alpha / 2, found.df) * found.error) if found.error else 0.0
    judgement = replace(
        judgement,
        low=difference - half,
        high=difference + half,
        p=_two_sided(difference, found),
        p_equivalence=math.nan if margin is None else float(p_above(bound - abs(difference), found)),
    )
    few = tuple(row for row, n in zip(rows, (n_a, n_b), strict=True) if row in pool.outliers and n < FEWEST_SEEDS)
    return _Tested(judgement, _two_sided(difference, own) if pool.pooled & set(rows) else math.nan, few)


def _two_sided(difference: float, found: Noise) -> float:
    return min(1.0, 2 * float(p_above(abs(difference), found)))


def _verdict(tested: _Tested, p_holm: float, p_equivalence: float, alpha: float, family: int) -> Judgement:
    raw = tested.judgement
    verdict, reason = raw.verdict, raw.reason
    if not math.isnan(tested.p_own):
        p_holm = max(p_holm, min(1.0, min(family, OWN_CONTRAST) * tested.p_own))
    if raw.n_a and math.isnan(raw.p):
        verdict, reason = "undecided (one seed)", "one seed a side has no spread"
    elif tested.outliers:
        reason = f"{tested.outliers[0]} is of outlier variance: a claim about it needs {FEWEST_SEEDS} seeds"
    elif p_equivalence < alpha:
        verdict = "equivalent"
        reason = "a difference, but within the margin" if p_holm < alpha else ""
    elif p_holm < alpha:
        a_is_better = (raw.difference < 0) == (METRICS.find(raw.metric).better == "lower")
        verdict = "better" if a_is_better else "worse"
    return replace(
        raw, verdict=verdict, reason=reason, alpha=alpha, family=family, p_holm=p_holm, p_equivalence=p_equivalence
    )
