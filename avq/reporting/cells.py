"""What `check` says of a table: a verdict a cell, notes on rows and runs, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from avq.metrics.registry import METRICS
from avq.reporting.health import Note
from avq.reporting.noise import smallest_loss

Verdict = Literal[
    "regressed", "no worse", "undecided", "better", "not judged", "same",
    "equal", "changed", "similar", "costlier", "advice",
    "missing", "added", "other protocol",
]  # fmt: skip
FAILING = ("regressed", "changed", "costlier")


@dataclass(frozen=True)
class Cell:
    """One metric of one row (and level), before and now.

    Attributes:
        before, now: means over seeds; NaN for no value.
        loss: by how much it is worse, in the metric's unit; negative where it is better.
        error: standard error of `loss`, with `df` degrees of freedom.
        p: one-sided, of no loss; `p_holm` corrected over the trained cells of the table.
        p_own: by the row's own spread alone; NaN without one.
        p_gain: one-sided, of no gain.
        margin: the loss too small to matter; NaN where the ablation file declares none.
    """

    dataset: str
    row: str
    metric: str
    level: int | None
    verdict: Verdict
    reason: str = ""
    before: float = np.nan
    now: float = np.nan
    loss: float = np.nan
    n_before: int = 0
    n_now: int = 0
    error: float = np.nan
    df: float = np.nan
    p: float = np.nan
    p_own: float = np.nan
    p_gain: float = np.nan
    p_holm: float = np.nan
    margin: float = np.nan

    @property
    def column(self) -> str:
        """The metric, with its level where it has one: `perplexity@2`."""
        return self.metric if self.level is None else f"{self.metric}@{self.level}"


@dataclass(frozen=True)
class Check:
    """The verdict on a table.

    Attributes:
        notes: rows and runs that are judged apart: added, missing, failed, collapsed.
        allowed: kinds of findings that do not fail: those of `notes`, `protocol` and `timing`.
        costs_alone: the baseline holds nothing that was trained (`avq-bench scale`), so that costs are all there is.
        seeds_gone: seeds of the baseline that no row has now: no finding, a table may have fewer.
    """

    experiment: str
    alpha: float
    cells: tuple[Cell, ...]
    notes: tuple[Note, ...]
    allowed: frozenset[str] = field(default_factory=frozenset)
    costs_alone: bool = False
    seeds_gone: tuple[int, ...] = ()

    def fails(self, found: Cell | Note) -> bool:
        """Whether a finding makes the table a regression."""
        if isinstance(found, Note):
            return found.fails and found.kind not in self.allowed
        if found.verdict == "costlier":
            return "timing" not in self.allowed
        return found.verdict in FAILING or (found.verdict == "missing" and "missing" not in self.allowed)

    @property
    def trained(self) -> list[Cell]:
        """The cells that were tested over seeds."""
        return [cell for cell in self.cells if not np.isnan(cell.p)]

    @property
    def undecided(self) -> list[Cell]:
        """Losses that the seeds do not decide, the largest share of its value first."""
        open_losses = [cell for cell in self.trained if cell.verdict == "undecided" and cell.loss > 0]
        return sorted(open_losses, key=lambda cell: cell.loss / abs(cell.before) if cell.before else 0.0, reverse=True)

    @property
    def incomparable(self) -> str:
        """Why the tables cannot be compared as a whole; empty where they can."""
        other = [cell for cell in self.cells if cell.verdict == "other protocol"]
        if other and "protocol" not in self.allowed:
            names = ", ".join(dict.fromkeys(cell.metric for cell in other))
            return f"measured under another protocol than the baseline: {names}"
        if self.costs_alone:
            judged = any(cell.verdict not in ("advice", "added") for cell in self.cells)
            return "" if judged else "nothing of the baseline was measured on this machine under the same protocol"
        trained = [cell for cell in self.cells if METRICS[cell.metric].kind == "trained"]
        if not any(cell.n_before and cell.n_now for cell in trained):
            return "no trained metric of the baseline has a value to compare"
        if not self.trained and not any(cell.verdict in ("same", "regressed") for cell in self.cells):
            return "one seed a side has no spread: nothing trained can be judged; give two seeds or more"
        return ""

    @property
    def exit_code(self) -> int:
        """0 good, 1 regressed, 3 not comparable."""
        if any(map(self.fails, self.notes)) or any(map(self.fails, self.cells)):
            return 1
        return 3 if self.incomparable else 0


def smallest_caught(found: Check, metric: str, power: float = 0.95) -> tuple[Cell, float] | None:
    """The loss in `metric` that the check finds with `power` in its least sure pooled cell; None if none was tested.

    By the first and strictest step of Holm's correction, so that no other cell has to have changed.
    """
    cells = [cell for cell in found.trained if cell.metric == metric and cell.error > 0]
    if not cells:
        return None
    cell = max(cells, key=lambda one: (one.df, one.error))  # most degrees of freedom: pooled
    spread = cell.error / (1 / cell.n_before + 1 / cell.n_now) ** 0.5
    level = found.alpha / len(found.trained)
    return cell, spread * smallest_loss(cell.n_before, cell.n_now, cell.df, level, found.alpha, power)
