"""Spreads between seeds and the tests that rest on them, over arrays: one call judges a column, or thousands of tables.

The last axis is the rows of a table; leading axes are tables of their own (scripts/simulate_tables.py). What each rule
costs and how often it errs: docs/evidence.md, docs/check.md.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

OUTLIER_ALPHA = 0.001  # level of the F-test that finds a row of outlier variance
EVEN_ALPHA = 0.2  # level of Bartlett's test; below it the rows of a table do not share one spread
OWN_CONTRAST = 2  # the most by which p of a contrast by its own rows' spread is corrected, where that is not the test
OWN_LOSS = 0.1  # the same of a loss in `check`
PRIOR_DF = 1.0  # how many degrees of freedom the pool is worth beside a row's own spread in the baseline
_DRAWS = 20_000


class Noise(NamedTuple):
    """Standard errors of differences and their degrees of freedom, of the same shape."""

    error: Array
    df: Array


def outlier_variances(variance: Array, df: Array) -> Flags:
    """Which rows do not share one variance with the others.

    Rows are taken by their variance from the smaller half upwards; the first that fails an F-test against those below
    it is an outlier, and so are all after it. A row without degrees of freedom never is. `variance` and `df` are
    `[..., rows]`.
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


def even_spreads(variance: Array, df: Array) -> Flags:
    """Whether the rows of a table may share one spread: Bartlett's test does not reject it at `EVEN_ALPHA`.

    `variance` and `df` are `[..., rows]`, the result `[...]`. One row, or none that varies, is even; a row that does
    not vary beside others that do is not.
    """
    known = df > 0
    rows, total = known.sum(axis=-1), np.where(known, df, 0.0).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = np.where(known, variance * df, 0.0).sum(axis=-1) / total
        logs = np.where(known, df * np.log(variance), 0.0).sum(axis=-1)
        inverse = np.where(known, 1 / df, 0.0).sum(axis=-1) - 1 / total
        statistic = (total * np.log(shared) - logs) / (1 + inverse / (3 * (rows - 1)))
        p = stats.chi2.sf(statistic, rows - 1)
    result: Flags = (rows < 2) | (shared == 0) | (p > EVEN_ALPHA)
    return result


def standard_error(
    variance_a: ArrayLike, df_a: ArrayLike, n_a: float, variance_b: ArrayLike, df_b: ArrayLike, n_b: float,
    shared: ArrayLike = False,
) -> Noise:  # fmt: skip
    """Of a difference of means over `n_a` and `n_b` seeds.

    Where both sides have the one variance that is `shared`, its degrees of freedom; else Welch's, by Satterthwaite.
    """
    part_a, part_b = np.divide(variance_a, n_a), np.divide(variance_b, n_b)
    total = part_a + part_b
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(part_a > 0, part_a**2 / df_a, 0.0) + np.where(part_b > 0, part_b**2 / df_b, 0.0)
        mixed = np.where(weights > 0, total**2 / weights, np.inf)
    return Noise(np.sqrt(total), np.where(shared, df_a, mixed))


def p_above(difference: ArrayLike, found: Noise) -> Array:
    """One-sided p of a difference: small where it is surely above zero; NaN where no spread is known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(np.divide(difference, found.error), found.df)
    p = np.where(found.error == 0, np.where(np.asarray(difference) > 0, 0.0, 1.0), p)
    result: Array = np.where(found.df > 0, p, np.nan)
    return result


def holm(p_values: ArrayLike, family: int = 0) -> Array:
    """Holm's correction over the p values, NaN aside; a larger `family` adds tests that show nothing."""
    corrected = np.array(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(corrected))
    order = known[np.argsort(corrected[known], kind="stable")]
    steps = max(family, len(known)) - np.arange(len(known))
    corrected[order] = np.minimum(np.maximum.accumulate(steps * corrected[order]), 1.0)
    return corrected


def pooled(variance: Array, df: Array, own: Flags) -> tuple[Array, Array, Flags]:
    """The variance by which each row is judged in `check`, its degrees of freedom, and which rows have their own.

    Those of outlier variance, and those that are `own` beforehand; the others share one.
    """
    own = own | outlier_variances(variance, np.where(own, 0.0, df))
    weights = np.where(own, 0.0, df)
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = (variance * weights).sum(axis=-1, keepdims=True) / total
    return np.where(own, variance, shared), np.where(own, df, total), own


class Losses(NamedTuple):
    """`check`'s test of losses: its p, the pooled noise, and p by the row's own spread alone; all `[..., rows]`."""

    p: Array
    noise: Noise
    p_own: Array


def losses(
    loss: Array, variance_before: Array, n_before: Array, variance_now: Array, n_now: Array, own: Flags, alpha: float
) -> Losses:
    """One-sided p of no loss, all `[..., rows]`.

    The smaller of two p values, doubled. One by the spread of both tables, pooled over all rows but those of outlier
    variance; there the loss must also stand out of its row's own spread (`OWN_LOSS`), as three seeds of a row of
    outlier variance may look like the others' by chance. One by the spread in the baseline alone, the row's own drawn
    towards the pool by `PRIOR_DF` (Smyth 2004, equation 4): a loss that differs between seeds does not hide behind the
    spread that it makes. Rows that are `own` (outliers of the baseline, k-means) take nothing from the pool.
    """
    df_before, scale = n_before - 1, 1 / n_before + 1 / n_now
    df = df_before + n_now - 1
    variance = (variance_before * df_before + variance_now * (n_now - 1)) / np.maximum(df, 1)
    shared, shared_df, apart = pooled(variance, df, own)
    together = Noise(np.sqrt(shared * scale), shared_df)
    p_together, p_own = p_above(loss, together), p_above(loss, Noise(np.sqrt(variance * scale), df))
    hidden = ~apart & (p_own >= OWN_LOSS * alpha)
    prior = pooled(variance_before, df_before, own)[0]
    prior = (PRIOR_DF * prior + df_before * variance_before) / (PRIOR_DF + df_before)  # of rows that are `own`: theirs
    prior_df = np.where((df_before > 0) & (prior > 0), df_before + np.where(own, 0.0, PRIOR_DF), 0.0)
    p_before = p_above(loss, Noise(np.sqrt(prior * scale), prior_df))
    return Losses(np.minimum(1.0, 2 * np.fmin(np.where(hidden, 1.0, p_together), p_before)), together, p_own)


@cache
def smallest_loss(n_before: int, n_now: int, df: float, level: float, alpha: float, power: float = 0.95) -> float:
    """The loss, in spreads between seeds, that `losses` puts below `level` with this `power` in a row of the pool.

    Drawn: there is no formula for the three spreads that it has to pass. `df` is of the pool.
    """
    random = np.random.default_rng(0)
    before, now, pool = (random.chisquare(max(n, 1e-9), _DRAWS) for n in (n_before - 1, n_now - 1, df))
    scale, own_df = 1 / n_before + 1 / n_now, n_before + n_now - 2
    pool /= df
    needed = stats.t.isf(level / 2, df) * np.sqrt(pool)
    if own_df:
        needed = np.maximum(needed, stats.t.isf(OWN_LOSS * alpha, own_df) * np.sqrt((before + now) / own_df))
    if n_before > 1:
        prior_df = PRIOR_DF + n_before - 1
        needed = np.minimum(needed, stats.t.isf(level / 2, prior_df) * np.sqrt((PRIOR_DF * pool + before) / prior_df))
    return float(np.quantile((needed - random.standard_normal(_DRAWS)) * scale**0.5, power))


@cache
def smallest_difference(seeds: int, df: float, alpha: float, power: float = 0.8) -> float:
    """The difference, in spreads between seeds, that one contrast of that many seeds a side shows with this `power`.

    `df` is of the spread that the rows share, 0 where each has its own (then in those spreads). Before Holm's
    correction; drawn, as `smallest_loss`.
    """
    random = np.random.default_rng(0)
    a, b = random.chisquare(seeds - 1, (2, _DRAWS)) / (seeds - 1)
    error = standard_error(a, seeds - 1, seeds, b, seeds - 1, seeds)
    needed = stats.t.isf(alpha / 2, error.df) * error.error
    if df:
        shared = np.sqrt(random.chisquare(df, _DRAWS) / df * 2 / seeds)
        needed = np.maximum(needed, stats.t.isf(alpha / 2, df) * shared)
    return float(np.quantile(needed - random.standard_normal(_DRAWS) * (2 / seeds) ** 0.5, power))
