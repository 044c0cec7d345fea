"""Planted mistakes are caught, fresh seeds pass: `check` on stored records of real (small) runs.

The records were made by the commands in `planted/README.md`; nothing is trained here.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import avq
from avq.experiments.ablation import load_ablation
from avq.reporting.regression import Check, check

HERE = Path(__file__).parent / "planted"
BASELINE = Path(__file__).parents[2] / "results" / "cpu" / "ablation_levels-smoke-synthetic-faces.csv"


def judged(now: pd.DataFrame) -> Check:
    statistics = load_ablation("ablation_levels").statistics
    before = avq.load_results(BASELINE)
    before = before[before["row"].isin(set(now["row"]))]
    return check(before, now, alpha=statistics.regression_alpha, margin=statistics.margin, allowed=["timing"])


@pytest.mark.parametrize("record", sorted(path.stem for path in HERE.glob("*.csv") if path.stem != "unchanged"))
def test_a_planted_mistake_is_caught_by_trained_metrics(record: str) -> None:
    found = judged(avq.load_results(HERE / f"{record}.csv"))
    assert found.exit_code == 1
    assert [cell.column for cell in found.cells if cell.verdict == "regressed"] or any(
        note.kind in ("collapsed", "failed") and note.fails for note in found.notes
    )


def test_unchanged_code_with_fresh_seeds_passes() -> None:
    found = judged(avq.load_results(HERE / "unchanged.csv"))
    assert [cell for cell in found.cells if found.fails(cell)] == []
    assert found.exit_code == 0
