"""What docs/simulated.md says is what the simulation returns, and the goals of `check` hold in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "results" / "cpu" / "ablation_levels-small-cifar10.csv"


@pytest.fixture(scope="module")
def simulation():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import simulate_tables
    finally:
        sys.path.pop(0)
    return simulate_tables


def documented(model: str, seeds: int) -> list[float]:
    text = (ROOT / "docs" / "simulated.md").read_text("utf-8")
    line = re.search(rf"^\| {model} \| {seeds} \| (.*) \|$", text, re.MULTILINE)
    assert line is not None
    return [float(cell.strip(" %")) / 100 for cell in line[1].split("|")]


@pytest.mark.parametrize(("model", "seeds"), [("uneven", 3), ("uneven", 5), ("even", 3)])
def test_the_documented_rates_are_found_again(simulation, model: str, seeds: int) -> None:
    import avq

    columns = simulation.columns_of(avq.load_results(TABLE))
    found = simulation.simulate_check(columns, model, seeds, 1000, np.random.default_rng(7))
    failing, caught, worst = found.values()
    assert (failing, caught, worst) == pytest.approx(documented(model, seeds), abs=0.02)
    assert documented(model, seeds)[0] <= 0.01
    assert documented(model, seeds)[2] >= 0.95


def test_the_pages_quote_the_simulation() -> None:
    page = " ".join((ROOT / "docs" / "check.md").read_text("utf-8").split())
    three, five = documented("uneven", 3), documented("uneven", 5)
    assert f"{100 * three[0]:.1f} % of unchanged tables fail with three seeds a side and {100 * five[0]:.1f} %" in page
    assert (
        f"caught in {100 * three[1]:.0f} of 100 checks with three seeds** ({100 * three[2]:.0f} in the worst row)"
        in page
    )
