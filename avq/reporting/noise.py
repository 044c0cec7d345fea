"""The one-sided test behind `check`, over arrays: one call judges a column, or thousands of simulated ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from avq.reporting.statistics import Array, outlier_variances

#: The level, as a share of alpha, at which a loss must stand out of its row's own spread: found by simulation.
OWN_SPREAD = 0.1


class Noise(NamedTuple):
    """Standard errors of differences and their degrees of freedom, of the same shape."""

    error: Array
    df: Array


def noise(variance: Array, df: Array, scale: Array, alone: NDArray[np.bool_]) -> Noise:
    """Standard errors from variances between seeds (both tables together), pooled as `pooled`.

    `scale` is 1 / seeds before + 1 / seeds now; all are of one shape.
    """
    variance, df, _ = pooled(variance, df, alone)
    return own_noise(variance, df, scale)


def pooled(variance: Array, df: Array, alone: NDArray[np.bool_]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The variance by which each row is judged, its degrees of freedom, and which rows have their own.

    Those of outlier variance, and those that are `alone` (the k-means baseline). All `[..., rows]`; leading axes are
    tables of their own.
    """
    own = alone | outlier_variances(variance, np.where(alone, 0.0, df))
    weights = np.where(own, 0.0, df)
    pooled_df = weights.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = (variance * weights).sum(axis=-1, keepdims=True) / pooled_df
    return np.where(own, variance, shared), np.where(own, df, pooled_df), own


def own_noise(variance: Array, df: Array, scale: Array) -> Noise:
    """As `noise`, with nothing pooled."""
    return Noise(np.sqrt(variance * scale), df)


def stands_out(p_own: Array, alpha: float) -> NDArray[np.bool_]:
    """Whether a loss stands out of its row's own spread; a row without one is judged by the pool alone."""
    return np.isnan(p_own) | (p_own < OWN_SPREAD * alpha)


def p_of_loss(loss: Array, found: Noise) -> Array:
    """One-sided p of no loss: small where `loss` is surely above zero; NaN where no spread is known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(loss / found.error, found.df)
    p = np.where(found.error == 0, np.where(loss > 0, 0.0, 1.0), p)
    result: Array = np.where(found.df > 0, p, np.nan)
    return result
