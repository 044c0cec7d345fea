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


@pytest.mark.parametrize("record", ["no_restarts", "wrong_beta"])
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


def kept_checkpoints(row: str, alpha: float) -> dict[str, str]:
    """Verdicts on a row trained as it should be, measured as it is and with the attention's update doubled."""
    before, now = (avq.load_results(HERE / f"{name}.csv") for name in ("kept", "kept_doubled"))
    rows = ["aren-1", row]
    found = check(*(frame[frame["row"].isin(rows)] for frame in (before, now)), alpha=alpha)
    assert not [cell for cell in found.cells if cell.row == "aren-1" and cell.verdict == "regressed"]
    return {cell.column: cell.verdict for cell in found.cells if cell.row == row}


def test_a_doubled_output_on_kept_checkpoints_is_caught_at_five_per_cent_and_not_at_one() -> None:
    """MAE 0.057 to 0.132, but by 0.024 more or less a seed: three seeds do not show it at the table's usual level."""
    assert {kept_checkpoints("aren-1-rpa", 0.05)[metric] for metric in ("mae", "psnr")} == {"regressed"}
    assert kept_checkpoints("aren-1-rpa", 0.01)["mae"] == "undecided"


def test_a_doubled_output_does_nothing_to_an_attention_that_does_nothing() -> None:
    assert "regressed" not in kept_checkpoints("aren-1-rpa-mean", 0.05).values()


@pytest.mark.parametrize("row", ["aren-1-rpa", "aren-1-rpa-mean"])
def test_the_attention_gain_of_kept_checkpoints_tells_it_exactly(row: str) -> None:
    before, now = (avq.load_results(HERE / f"{name}.csv") for name in ("kept", "kept_doubled"))
    gains = [frame[(frame["row"] == row) & (frame["metric"] == "attention-gain")] for frame in (before, now)]
    assert (gains[1]["value"].to_numpy() / gains[0]["value"].to_numpy()) == pytest.approx(2, rel=1e-4)
