"""Planted mistakes are caught, fresh seeds pass: `check` on stored records of real (small) runs.

The records were made by the commands in `planted/README.md`; nothing is trained here.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import avq
from avq.design.ablation import load_ablation
from avq.reporting.cells import Check
from avq.reporting.regression import check

HERE = Path(__file__).parent / "planted"
BASELINE = Path(__file__).parents[2] / "results" / "cpu" / "ablation_levels-smoke-synthetic-faces.csv"


def stored(name: str) -> pd.DataFrame:
    return avq.load_results(HERE / f"{name}.csv")


def judged(now: pd.DataFrame, before: pd.DataFrame | None = None) -> Check:
    """By the ablation's alpha and margins; against the committed table where no other is given."""
    statistics = load_ablation("ablation_levels").statistics
    if before is None:
        before = avq.load_results(BASELINE)
        before = before[before["row"].isin(set(now["row"]))]
    return check(before, now, alpha=statistics.regression_alpha, margin=statistics.margin, allowed=["timing"])


@pytest.mark.parametrize("record", ["no_restarts", "wrong_beta"])
def test_a_planted_mistake_is_caught_by_trained_metrics(record: str) -> None:
    found = judged(stored(record))
    assert found.exit_code == 1
    assert [cell.column for cell in found.cells if cell.verdict == "regressed"] or any(
        note.kind in ("collapsed", "failed") and note.fails for note in found.notes
    )


def test_unchanged_code_with_fresh_seeds_passes() -> None:
    found = judged(stored("unchanged"))
    assert [cell for cell in found.cells if found.fails(cell)] == []
    assert found.exit_code == 0


def by_cell(before: pd.DataFrame, now: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Verdicts on checkpoints trained as they should be, measured as they are and with what attention adds doubled."""
    return {(cell.row, cell.column): cell.verdict for cell in judged(now, before).cells}


def test_a_doubled_output_on_stored_checkpoints_is_caught_where_it_changes_what_is_measured() -> None:
    """MAE 0.057 to 0.132, by 0.024 more or less a seed: as the checkpoints are the same ones, no noise hides it.

    Normalised, attention adds little, and twice as much moves MAE by two ten-thousandths.
    """
    found = by_cell(stored("kept"), stored("kept_doubled"))
    worse = {name for name, verdict in found.items() if verdict in ("regressed", "changed")}
    assert worse >= {("aren-1-rpa", metric) for metric in ("mae", "psnr", "ssim", "perplexity@1")}
    assert {row for row, _ in worse} == {"aren-1-rpa", "aren-1-rpa-mean"}
    assert {found["aren-1", metric] for metric in ("mae", "psnr", "ssim", "perplexity@1")} == {"same"}


def test_without_proof_of_the_same_checkpoint_the_baselines_spread_shows_it() -> None:
    """Each seed by another amount, but by fifty of the standard errors that the baseline knows."""
    now = stored("kept_doubled")
    now.loc[now["metric"] == "validation-mae", "value"] += 1e-9
    assert by_cell(stored("kept"), now)["aren-1-rpa", "mae"] == "regressed"


@pytest.mark.parametrize("row", ["aren-1-rpa", "aren-1-rpa-mean"])
def test_the_attention_gain_of_stored_checkpoints_shows_it_exactly(row: str) -> None:
    before, now = stored("kept"), stored("kept_doubled")
    gains = [frame[(frame["row"] == row) & (frame["metric"] == "attention-gain")] for frame in (before, now)]
    assert (gains[1]["value"].to_numpy() / gains[0]["value"].to_numpy()) == pytest.approx(2, rel=1e-4)
