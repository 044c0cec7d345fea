"""How often do the verdicts err, and what do they catch? Simulated tables, drawn from the committed tables' spreads.

    python scripts/simulate_tables.py && python scripts/figures.py     # about 4 minutes of one core

writes docs/simulated.json and docs/simulated.md; `figures.py` puts the numbers into the pages that quote them. Every
table is judged by the functions of `avq.reporting.noise` that `avq-bench check` and the contrasts use, over a leading
axis of tables. How seeds are drawn:

even         every trained row of a column has the pooled spread (the k-means baseline its own)
uneven       rows of outlier variance in the real table have their own spread, the others the pooled one
four at 3x   the four rows of the widest spread in MAE have three times the pooled spread
one at 3x    the widest alone
measured     every row has its own sample spread, which exaggerates how uneven rows are
heavy tails  as even, but Student's t with four degrees of freedom in place of the normal distribution
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avq import load_results
from avq.design.code import Tree
from avq.metrics.registry import METRICS
from avq.reporting import noise
from avq.reporting.statistics import FEWEST_SEEDS
from avq.reporting.values import BASELINE, rows_of, seed_values

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
ROOT = Path(__file__).resolve().parents[1]
SMALL = ROOT / "results" / "cpu" / "ablation_levels-small-cifar10.csv"
SMOKE = ROOT / "results" / "cpu" / "ablation_levels-smoke-synthetic-faces.csv"
ALPHA, REGRESSION_ALPHA, TABLES = 0.05, 0.01, 10_000
MODELS = ("even", "uneven", "four at 3x", "measured", "heavy tails")
DAMAGES: dict[str, tuple[float, ...]] = {"5 %": (1.05,) * 8, "x 2": (2,), "x 10": (10,), "uneven": (2, 1.3, 1.15)}


@dataclass(frozen=True)
class Column:
    """One metric (and level) of a real table: mean and spread between seeds of each row."""

    metric: str
    rows: list[str]
    mean: Array
    sd: Array
    df: Array
    alone: Flags

    @property
    def out(self) -> Flags:
        """Rows that do not share the pooled spread."""
        return self.alone | noise.outlier_variances(self.sd**2, np.where(self.alone, 0.0, self.df))

    @property
    def pooled(self) -> float:
        """The spread that the others share."""
        return float(np.sqrt(np.average(self.sd[~self.out] ** 2, weights=self.df[~self.out])))

    @property
    def widest(self) -> list[str]:
        """The rows, from the widest spread down."""
        return [self.rows[at] for at in np.argsort(-self.sd / self.mean)]

    def spread(self, model: str, widest: Sequence[str]) -> Array:
        """The spread by which a model draws each row."""
        own = {"measured": np.ones(len(self.rows), dtype=bool), "uneven": self.out}.get(model, self.alone)
        wide = {"four at 3x": widest[:4], "one at 3x": widest[:1]}.get(model, ())
        return np.where(own, self.sd, self.pooled) * np.where(np.isin(self.rows, wide), 3.0, 1.0)


def columns_of(path: Path, split: str = "test") -> list[Column]:
    """The columns that `check` tests, in the order of METRICS (MAE first)."""
    frame, found = rows_of(load_results(path), split), []
    for metric in METRICS.values():
        if metric.kind != "trained" or metric.better is None or metric.not_judged:
            continue
        for _, part in seed_values(frame, metric.name).groupby("level", dropna=False):
            rows = part.groupby("row", sort=False)
            mean, sd, n = (rows["value"].agg(name).to_numpy(float) for name in ("mean", "std", "size"))
            alone = (rows["variant"].first() == BASELINE).to_numpy()
            found.append(Column(metric.name, list(rows.groups), mean, sd, n - 1, alone))
    return found


def drawn(
    columns: Sequence[Column], model: str, tables: int, seeds: int, random: np.random.Generator, apart: bool = True
) -> list[Array]:
    """Values `[tables, rows, seeds]` of every column; of one draw a row and seed where they are not drawn `apart`."""
    names = list(dict.fromkeys(row for column in columns for row in column.rows))
    widest = columns[0].widest

    def standard(rows: int) -> Array:
        shape = (tables, rows, seeds)
        return random.standard_t(4, shape) / 2**0.5 if model == "heavy tails" else random.standard_normal(shape)

    shared = None if apart else standard(len(names))
    found = []
    for column in columns:
        values = standard(len(column.rows)) if shared is None else shared[:, [names.index(row) for row in column.rows]]
        found.append(column.mean[:, None] + column.spread(model, widest)[:, None] * values)
    return found


def failing(columns: Sequence[Column], before: Sequence[Array], now: Sequence[Array], wanted: int) -> list[Flags]:
    """Which cells `[tables, rows]` of the first `wanted` columns fail `check`, by Holm's first step."""
    names = list(dict.fromkeys(row for column in columns for row in column.rows))
    level = REGRESSION_ALPHA / sum(len(column.rows) for column in columns)
    places = [[names.index(row) for row in column.rows] for column in columns]
    own = np.zeros((len(before[0]), len(names)), dtype=bool)
    for column, place, values in zip(columns, places, before, strict=True):
        variance = values.var(axis=-1, ddof=1)
        df = np.broadcast_to(np.where(column.alone, 0.0, values.shape[-1] - 1.0), variance.shape)
        own[:, place] |= noise.outlier_variances(variance, df) | column.alone
    found = []
    for column, place, old, new in list(zip(columns, places, before, now, strict=True))[:wanted]:
        sign = 1 if METRICS[column.metric].better == "lower" else -1
        loss = sign * (new.mean(axis=-1) - old.mean(axis=-1))
        spreads = [x for side in (old, new) for x in (side.var(axis=-1, ddof=1), np.full(loss.shape, side.shape[-1]))]
        found.append(noise.losses(loss, *spreads, own[:, place], REGRESSION_ALPHA).p < level)
    return found


def simulate_check(
    columns: Sequence[Column], model: str, seeds: tuple[int, int], tables: int, random: np.random.Generator,
    apart: bool = True, damages: dict[str, tuple[float, ...]] = DAMAGES,
) -> dict[str, float]:  # fmt: skip
    """Share of unchanged tables that fail, and of damages in one row's MAE that are caught where they are.

    In turn every row without outlier variance is damaged: what varies by more than 5 % cannot show a loss of 5 %.
    """
    before, now = (drawn(columns, model, tables, count, random, apart) for count in seeds)
    fail = np.any([cells.any(axis=1) for cells in failing(columns, before, now, len(columns))], axis=0)
    found = {"unchanged tables that fail": float(fail.mean())}
    mae = columns[0]
    rows = np.flatnonzero(~mae.out)
    for name, factors in damages.items():
        factor = np.ones(seeds[1])
        factor[: len(factors)] = factors[: seeds[1]]
        caught = []
        for row, part in zip(rows, np.array_split(np.arange(tables), len(rows)), strict=True):
            damaged = now[0][part].copy()
            damaged[:, row] *= factor
            old = [values[part] for values in before]
            caught.append(failing(columns, old, [damaged, *(values[part] for values in now[1:])], 1)[0][:, row].mean())
        found[f"{name} caught"] = float(np.mean(caught))
        found |= {f"{name}, worst row": float(np.min(caught))} if name == "5 %" else {}
    return found


TESTS = ("in use", "pooled but for outliers", "Welch", "moderated")


def simulate_contrasts(
    column: Column, model: str, seeds: int, tables: int, random: np.random.Generator
) -> dict[str, float]:
    """Every trained row against the first: tables with a false claim, and differences of 4 spreads that are found.

    By the first step of Holm's correction, on the same tables; found among rows of the pooled spread.
    """
    rows = np.flatnonzero(~column.alone)
    spread = column.spread(model, column.widest)[rows]
    shape = (tables, len(rows), seeds)
    values = random.standard_t(4, shape) / 2**0.5 if model == "heavy tails" else random.standard_normal(shape)
    values = values * spread[:, None]
    even = np.flatnonzero(spread[1:] == spread.min())
    far = 4 * float(spread.min())
    null, moved = (claims(values.mean(axis=-1), values.var(axis=-1, ddof=1), seeds, shift) for shift in (0.0, far))
    found = {f"{test}: false": float(null[test].any(axis=1).mean()) for test in TESTS}
    return found | {f"{test}: found": float(moved[test][:, even].mean()) for test in TESTS}


def claims(mean: Array, variance: Array, seeds: int, shift: float) -> dict[str, Flags]:
    """Which rows are claimed to differ from the first, by each of `TESTS`, when all others are moved by `shift`."""
    df = np.full(variance.shape, seeds - 1.0)
    difference, family = np.abs(mean[:, 1:] - mean[:, :1] + shift), mean.shape[1] - 1

    def p(variance: Array, df: Array, shared: Any = False) -> Array:
        sides = (variance[:, 1:], df[:, 1:], seeds, variance[:, :1], df[:, :1], seeds, shared)
        return 2 * noise.p_above(difference, noise.standard_error(*sides))

    own = p(variance, df)
    together, total = (
        np.broadcast_to(f(x, axis=1, keepdims=True), df.shape) for f, x in ((np.mean, variance), (np.sum, df))
    )
    pooled = np.maximum(family * p(together, total, True), min(family, noise.OWN_CONTRAST) * own)
    even, out = noise.even_spreads(variance, df)[:, None], noise.outlier_variances(variance, df)
    few = (out[:, 1:] | out[:, :1]) & (seeds < FEWEST_SEEDS)
    but, but_df, apart = noise.pooled(variance, df, np.zeros(df.shape, dtype=bool))
    prior = np.where(apart.all(axis=1, keepdims=True), together, np.where(apart, np.nan, but))
    prior = np.nanmean(prior, axis=1, keepdims=True)
    moderate = (2 * prior + df * variance) / (2 + df)
    return {
        "in use": (np.where(even, pooled, family * own) < ALPHA) & ~few,
        "pooled but for outliers": family * p(but, but_df, ~apart[:, 1:] & ~apart[:, :1]) < ALPHA,
        "Welch": family * own < ALPHA,
        "moderated": family * p(moderate, 2 + df) < ALPHA,
    }


def curves(columns: Sequence[Column], tables: int) -> Iterator[dict[str, Any]]:
    """What the two levels of `losses` buy and cost, with three seeds a side."""
    for name, values in (("OWN_LOSS", (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)), ("PRIOR_DF", (0.25, 0.5, 1.0, 2.0, 4.0))):
        kept = getattr(noise, name)
        for value in values:
            setattr(noise, name, value)
            for model, apart in (("even", True), ("uneven", False), ("four at 3x", True)):
                few = {damage: DAMAGES[damage] for damage in ("5 %", "x 2")}
                found = simulate_check(columns, model, (3, 3), tables, np.random.default_rng(3), apart, few)
                yield {"level": name, "value": value, "seeds are drawn": model, **found}
        setattr(noise, name, kept)


def fingerprint() -> str:
    """Of all that the figures rest on: the rules, this program, and the two tables."""
    sources = [ROOT / "avq" / "reporting" / "noise.py", Path(__file__)]
    parts = [Tree(path.read_text("utf-8")).shape for path in sources]
    parts += [path.read_text("utf-8") for path in (SMALL, SMOKE)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def simulate(tables: int = TABLES) -> dict[str, Any]:
    """Everything, as docs/simulated.json has it."""
    small, smoke = columns_of(SMALL), columns_of(SMOKE)
    seed = iter(range(10**6))

    def random() -> np.random.Generator:
        return np.random.default_rng(next(seed))

    check = []
    for name, columns, models, sides in (
        ("small", small, MODELS, ((3, 3), (5, 5))),
        ("smoke", smoke, ("even", "measured", "heavy tails"), ((5, 3), (5, 5))),
    ):
        for pair, model, apart in itertools.product(sides, models, (True, False)):
            if apart or pair[1] == 3:
                keys = {"table": name, "seeds": f"{pair[0]}, {pair[1]}", "seeds are drawn": model}
                found = simulate_check(columns, model, pair, tables, random(), apart)
                check.append(keys | {"columns": "apart" if apart else "as one"} | found)
    losses = []
    for percent, pair in itertools.product((5, 8, 10, 12, 15, 20), ((5, 3), (5, 5), (10, 10))):
        found = simulate_check(smoke, "even", pair, tables, random(), True, {"loss": (1 + percent / 100,) * 10})
        losses.append({"loss": f"{percent} %", "seeds": f"{pair[0]}, {pair[1]}", "caught": found["loss caught"]})
    contrasts = []
    for count, model in itertools.product((3, 4, 5), ("even", "uneven", "four at 3x", "one at 3x", "heavy tails")):
        found = simulate_contrasts(small[0], model, count, tables, random())
        contrasts.append({"seeds": count, "seeds are drawn": model, **found})
    both = {"small": small, "smoke": smoke}
    return {
        "fingerprint": fingerprint(),
        "tables": tables,
        "cells": {name: sum(len(column.rows) for column in columns) for name, columns in both.items()},
        "spread": {name: columns[0].pooled / columns[0].mean[~columns[0].out].mean() for name, columns in both.items()},
        "check": check,
        "losses": losses,
        "curves": list(curves(small, tables // 5)),
        "contrasts": contrasts,
    }


def page(found: dict[str, Any]) -> Iterator[str]:
    """The result as Markdown."""
    small, smoke = ((found["cells"][name], 100 * found["spread"][name]) for name in ("small", "smoke"))
    yield "<!-- Written by scripts/simulate_tables.py; do not edit. -->"
    yield "# Simulated tables"
    yield ""
    yield f"{found['tables']:,} tables a line (the curves: a fifth). `small` is the committed CIFAR-10 table with"
    yield f"{small[0]} trained cells, where MAE's pooled spread between seeds is {small[1]:.2f} % of MAE; `smoke` is"
    yield f"that of `make check` with {smoke[0]} and {smoke[1]:.1f} %. Columns are drawn apart, or as one (one draw"
    yield "a row and seed for all metrics); the truth lies between. How seeds are drawn: `scripts/simulate_tables.py`."
    titles = {
        "check": "**The check** (`regression_alpha` 0.01; seeds before, now): unchanged tables that fail, and what is "
        "caught in one row's MAE: all seeds 5 % worse, one seed x 2, one seed x 10, three seeds + 100, 30 and 15 %",
        "losses": "**A loss in one row of the smoke table**, by its size",
        "curves": "**What the two levels of the check buy and cost**, `small`, three seeds a side",
        "contrasts": "**Contrasts of MAE within a table** (`alpha` 0.05; every trained row against the first): tables "
        "with a false claim, and differences of 4 spreads that are found between rows of the pooled spread",
    }
    for name, title in titles.items():
        yield from ("", f"{title}:", "")
        lines = found[name]
        yield "| " + " | ".join(lines[0]) + " |"
        yield "| " + " | ".join("---" if isinstance(value, str) else "---:" for value in lines[0].values()) + " |"
        for line in lines:
            yield "| " + " | ".join(map(_shown, line, line.values())) + " |"


def _shown(name: str, value: Any) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, float) and name != "value" else str(value)


def main(write: Callable[[str], None] = print) -> None:
    found = simulate()
    (ROOT / "docs" / "simulated.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (ROOT / "docs" / "simulated.md").write_text("\n".join(page(found)) + "\n", "utf-8")
    write(f"{found['tables']} tables a line; rules and tables {found['fingerprint']}")


if __name__ == "__main__":
    main()
