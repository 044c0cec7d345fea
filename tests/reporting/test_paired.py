"""Checkpoints that both tables measured: what is judged one by one, and what by the test over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from made_records import frame, line, maes

from avq.reporting.cells import Cell, Check
from avq.reporting.regression import check

ROWS = {f"row-{index}": 0.05 for index in range(6)}
OUTLIER = {"outlier": (0.056, 0.060, 0.058)}
DOUBLED = {"outlier": (0.080, 0.061, 0.075)}  # every seed is worse, each by another amount


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
    assert cell(found).reason == "the same checkpoints, measured differently (seed 0, 1, 2)"
    assert [one.row for one in found.cells if one.verdict == "regressed"] == ["outlier"]


def test_without_the_proof_seeds_decide() -> None:
    """Trained anew, by the same name: the same losses are noise between seeds of a row of outlier variance."""
    before, now = table(OUTLIER), table(DOUBLED, validation=2)
    assert cell(check(before, now)).verdict == "undecided"
    others = table(DOUBLED)
    others.loc[others["metric"] == "validation-mae", "value"] += 1e-15
    assert cell(check(before, others)).verdict == "undecided"
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


def test_one_changed_seed_is_enough_and_no_margin_excuses_it() -> None:
    now = table({"outlier": (0.056, 0.0601, 0.058)})  # 0.2 %
    found = cell(check(table(OUTLIER), now, margin={"mae": 0.01}))
    assert (found.verdict, found.reason) == ("regressed", "the same checkpoints, measured differently (seed 1)")
    assert check(table(OUTLIER), table({"outlier": (0.056, 0.060001, 0.058)})).exit_code == 0  # rounding


@pytest.mark.parametrize(("metric", "worse"), [("mae", DOUBLED), ("psnr", OUTLIER)])
def test_a_changed_measurement_fails_also_where_it_is_no_loss(metric: str, worse: dict) -> None:
    better = OUTLIER if worse is DOUBLED else DOUBLED
    found = check(table(worse, metric=metric), table(better, metric=metric))
    assert (found.exit_code, cell(found).verdict) == (1, "changed")
    assert cell(check(table(better, metric=metric), table(worse, metric=metric))).verdict == "regressed"


def test_a_metric_that_measures_a_checkpoint_differently_makes_nothing_better() -> None:
    """One row was not trained again and shows it: MAE is halved in every row, since its code was changed."""
    before, now = table(OUTLIER), table(OUTLIER, rng=2)
    anew = now["row"] != "outlier"
    now.loc[anew, "run"] += "-anew"
    now.loc[now["metric"] == "mae", "value"] /= 2
    found = check(before, now)
    assert cell(found).verdict == "changed"
    assert {one.verdict for one in found.cells if one.row != "outlier"} == {"undecided"}


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
