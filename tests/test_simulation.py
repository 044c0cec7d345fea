"""The figures of docs/simulated.md are of today's rules and tables, and the goals hold in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_records import contrast, frame, line
from programs import load_script
from scipy import stats

from avq.reporting.regression import check
from avq.reporting.statistics import judge

ROOT = Path(__file__).parents[1]
FOUND = json.loads((ROOT / "docs" / "simulated.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def simulation():
    return load_script("simulate_tables")


def of(part: str, **where: object) -> list[dict]:
    return [one for one in FOUND[part] if all(one[key.replace("_", " ")] == value for key, value in where.items())]


def test_the_figures_are_not_older_than_the_rules_and_the_tables(simulation) -> None:
    """Else run scripts/simulate_tables.py, then scripts/figures.py."""
    assert FOUND["fingerprint"] == simulation.fingerprint()
    assert "\n".join(simulation.page(FOUND)) + "\n" == (ROOT / "docs" / "simulated.md").read_text("utf-8")


def test_the_goals_hold() -> None:
    what = "unchanged tables that fail"
    assert of("check", table="smoke", seeds="5, 3", seeds_are_drawn="even", columns="apart")[0][what] <= 0.01
    for columns in ("apart", "as one"):
        (uneven,) = of("check", table="small", seeds="3, 3", seeds_are_drawn="uneven", columns=columns)
        assert uneven[what] <= 0.01
        assert uneven["5 %, worst row"] >= 0.9
    for one in FOUND["contrasts"]:
        assert one["in use: false"] <= 0.05


@pytest.mark.parametrize(("table", "seeds"), [("small", (3, 3)), ("smoke", (5, 3))])
def test_the_shares_are_found_again(simulation, table: str, seeds: tuple[int, int]) -> None:
    """Counts of 2,000 other tables, by exact tests: three times as many failing tables, say, do not pass."""
    columns = simulation.columns_of({"small": simulation.SMALL, "smoke": simulation.SMOKE}[table])
    found = simulation.simulate_check(columns, "even", seeds, 2000, np.random.default_rng(77))
    (known,) = of("check", table=table, seeds=f"{seeds[0]}, {seeds[1]}", seeds_are_drawn="even", columns="apart")
    for name, share in found.items():
        if name != "5 %, worst row":
            counts = [[round(2000 * share), round(10_000 * known[name])]]
            counts.append([2000 - counts[0][0], 10_000 - counts[0][1]])
            assert stats.fisher_exact(counts).pvalue > 0.001, name


def records(columns: list, values: list, at: int) -> pd.DataFrame:
    """One of the drawn tables, in long form."""
    names = [column.metric for column in columns]
    lines = []
    for place, (column, drawn) in enumerate(zip(columns, values, strict=True)):
        level = 1 + names[:place].count(column.metric) if names.count(column.metric) > 1 else None
        for row, seeds in zip(column.rows, drawn[at], strict=True):
            lines += [line(row, seed, column.metric, value, level=level) for seed, value in enumerate(seeds)]
    return frame(lines)


def test_the_simulation_judges_as_check_and_the_contrasts_do(simulation) -> None:
    """The same values as records: what fails by Holm's first step fails `check`, what is claimed is a verdict."""
    columns, random = simulation.columns_of(simulation.SMALL), np.random.default_rng(5)
    before, now = (simulation.drawn(columns, "uneven", 4, 3, random) for _ in range(2))
    now[0][:, 0] *= 1.05
    now[0][:, 3, 0] *= 2
    (failing,) = simulation.failing(columns, before, now, 1)
    mae = columns[0]
    rows = [row for row, alone in zip(mae.rows, mae.alone, strict=True) if not alone]
    declared = [contrast(row, row, rows[0]) for row in rows[1:]]
    for at in range(4):
        cells = check(records(columns, before, at), records(columns, now, at)).cells
        found = {cell.row for cell in cells if cell.metric == "mae" and cell.verdict == "regressed"}
        assert found >= set(np.array(mae.rows)[failing[at]])
        drawn = now[0][at : at + 1, ~mae.alone]
        claims = simulation.claims(drawn.mean(axis=-1), drawn.var(axis=-1, ddof=1), 3, 0.0)["in use"][0]
        long = records(columns[:1], now[:1], at)
        winners = [one.winner != "" for one in judge(long[long["row"].isin(rows)], declared)]
        assert all(np.array(winners)[claims])
        assert any(winners) == any(claims)
    assert failing[:, [0, 3]].mean() > 0.7


@pytest.mark.slow
def test_real_checks_catch_a_loss_of_5_percent_in_90_of_100(simulation) -> None:
    columns, random = simulation.columns_of(simulation.SMALL), np.random.default_rng(11)
    before, now = (simulation.drawn(columns, "uneven", 100, 3, random) for _ in range(2))
    row = columns[0].rows.index("aren-2")
    now[0][:, row] *= 1.05
    caught = 0
    for at in range(100):
        cells = check(records(columns, before, at), records(columns, now, at)).cells
        caught += ("aren-2", "mae", "regressed") in {(cell.row, cell.metric, cell.verdict) for cell in cells}
    assert caught >= 90
