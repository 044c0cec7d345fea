"""Checkpoints that both tables measured: what is judged one by one, and what by the test over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from made_records import frame, line, maes

from avq.reporting.regression import Cell, Check, check

ROWS = {f"row-{index}": 0.05 for index in range(6)}
OUTLIER = {"outlier": (0.056, 0.060, 0.058)}
DOUBLED = {"outlier": (0.140, 0.090, 0.150)}  # every seed is worse, each by another amount


def table(
    values: Mapping[str, Sequence[float]], validation: int = 1, rng: int = 1, metric: str = "mae"
) -> pd.DataFrame:
    """Six rows of small variance, and rows with these `values`, one a seed.

    All were trained under generator `validation`, whose numbers `validation-mae` repeats.
    """
    seeds = len(next(iter(values.values())))
    measured = maes(ROWS, 0.0003, seeds, rng).assign(metric=metric)
    means = {**ROWS, **dict.fromkeys(values, 0.05)}
    trained = maes(means, 0.0003, seeds, validation).assign(metric="validation-mae", split="validation")
    given = [line(row, seed, metric, v) for row, many in values.items() for seed, v in enumerate(many)]
    return pd.concat([measured, frame(given), trained.assign(protocol="validation-mae.1")], ignore_index=True)


def cell(found: Check, row: str = "outlier") -> Cell:
    return next(cell for cell in found.cells if cell.row == row and cell.metric in ("mae", "psnr"))


def test_the_same_checkpoints_measured_worse_have_regressed() -> None:
    found = check(table(OUTLIER), table(DOUBLED))
    assert (found.exit_code, cell(found).verdict) == (1, "regressed")
    assert cell(found).reason == "the same checkpoints, measured differently"
    assert [one.row for one in found.cells if one.verdict == "regressed"] == ["outlier"]


def test_without_the_proof_seeds_decide() -> None:
    """Trained anew, by the same name: the same losses are noise between seeds of a row of outlier variance."""
    before, now = table(OUTLIER), table(DOUBLED, validation=2)
    assert cell(check(before, now)).verdict == "undecided"
    one_other = table(DOUBLED)
    one_other.loc[(one_other["metric"] == "validation-mae") & (one_other["seed"] == 1), "value"] += 1e-15
    assert cell(check(before, one_other)).verdict == "undecided"
    unproven = table(DOUBLED)
    assert cell(check(before, unproven[unproven["metric"] != "validation-mae"])).verdict == "undecided"


@pytest.mark.parametrize("column", ["run", "code", "machine"])
def test_another_run_code_or_machine_is_no_proof(column: str) -> None:
    now = table(DOUBLED)
    now[column] = now[column] + "-other"
    assert cell(check(table(OUTLIER), now)).verdict == "undecided"


def test_another_protocol_is_never_compared() -> None:
    now = table(DOUBLED)
    now.loc[now["metric"] == "mae", "protocol"] = "mae.2"
    assert cell(check(table(OUTLIER), now)).verdict == "other protocol"


def test_every_seed_has_to_be_worse_by_more_than_the_margin() -> None:
    now = table({"outlier": (0.140, 0.0608, 0.150)})
    assert cell(check(table(OUTLIER), now, margin={"mae": 0.001})).verdict == "undecided"
    assert cell(check(table(OUTLIER), now, margin={"mae": 0.0005})).verdict == "regressed"
    assert cell(check(table(OUTLIER), table({"outlier": (0.140, 0.0604, 0.150)}))).verdict == "undecided"  # 0.7 %


def test_a_gain_is_no_regression() -> None:
    assert check(table(DOUBLED), table(OUTLIER)).exit_code == 0
    low, high = ({row: [1 / v for v in values] for row, values in rows.items()} for rows in (DOUBLED, OUTLIER))
    assert cell(check(table(high, metric="psnr"), table(low, metric="psnr"))).verdict == "regressed"
    assert check(table(low, metric="psnr"), table(high, metric="psnr")).exit_code == 0


def test_equal_values_are_the_same_and_one_seed_is_enough() -> None:
    found = check(table(OUTLIER), table(OUTLIER))
    assert found.exit_code == 0
    assert {one.verdict for one in found.cells if one.metric == "mae"} == {"same"}
    one, loss = table({"outlier": (0.056,)}), table({"outlier": (0.058,)})
    assert check(one, one).exit_code == 0
    assert check(one, loss).exit_code == 1


def test_seeds_that_only_one_table_has_are_left_to_the_test() -> None:
    now = table({"outlier": (*OUTLIER["outlier"], 0.3)})
    assert cell(check(table(OUTLIER)[lambda frame: frame["seed"] < 2], now)).verdict == "undecided"


def test_fresh_trainings_are_judged_as_if_nothing_was_recorded_while_training() -> None:
    before, now = table(OUTLIER), table(DOUBLED, validation=3, rng=2)
    bare = [frame[frame["metric"] != "validation-mae"] for frame in (before, now)]
    with_it, without = check(before, now), check(*bare)
    mae = [one for one in with_it.cells if one.metric == "mae"]
    assert [(one.row, one.verdict, one.p_holm) for one in mae] == [
        (one.row, one.verdict, one.p_holm) for one in without.cells
    ]
