"""Verdicts: right for planted effects, none where nothing differs, undecided where the data do not decide."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_records import contrast, frame, line, maes
from scipy import stats

from avq.reporting.noise import holm, smallest_difference
from avq.reporting.statistics import judge, pool_spreads

ROWS = {f"row-{index}": 0.05 for index in range(6)}
SD = 0.0004


def verdicts(long: pd.DataFrame, *pairs: tuple[str, str], **how: object) -> list[str]:
    declared = [contrast(f"{a} {b}", a, b) for a, b in pairs]
    return [judgement.verdict for judgement in judge(long, declared, **how)]  # type: ignore[arg-type]


def test_planted_effects_are_found_with_their_direction() -> None:
    long = maes({**ROWS, "good": 0.045, "bad": 0.056}, SD, 3)
    assert verdicts(long, ("good", "row-0"), ("bad", "row-0"), ("row-0", "good")) == ["better", "worse", "worse"]


def test_higher_is_better_for_psnr() -> None:
    long = maes({"low": 20.0, "high": 25.0, "mid": 22.0}, 0.1, 3).assign(metric="psnr")
    (judgement,) = judge(long, [contrast("c", "high", "low", "psnr")])
    assert judgement.verdict == "better"


@pytest.mark.parametrize(
    ("margin", "verdict"), [({}, "undecided"), ({"mae": SD / 10}, "undecided"), ({"mae": 10 * SD}, "equivalent")]
)
def test_equal_rows_are_equivalent_within_a_large_margin_only(margin: dict, verdict: str) -> None:
    assert verdicts(maes(ROWS, SD, 3), ("row-0", "row-1"), margin=margin) == [verdict]


def test_a_sure_difference_within_the_margin_is_equivalent_and_says_so() -> None:
    long = maes({**ROWS, "near": 0.049}, 0.00002, 3)
    (judgement,) = judge(long, [contrast("c", "near", "row-0")], margin={"mae": 0.005})
    assert judgement.verdict == "equivalent"
    assert "within the margin" in judgement.reason


def test_one_seed_decides_nothing_about_its_row() -> None:
    assert verdicts(maes({"a": 0.04, "b": 0.06}, SD, 1), ("a", "b")) == ["undecided (one seed)"]
    long = maes({**ROWS, "lone": 0.03}, SD, 3)
    long = long[(long["row"] != "lone") | (long["seed"] == 0)]
    assert verdicts(long, ("lone", "row-0"), ("row-1", "row-0")) == ["undecided (one seed)", "undecided"]


def test_other_protocols_are_not_comparable() -> None:
    long = maes({**ROWS, "other": 0.03}, SD, 3)
    long.loc[long["row"] == "other", "protocol"] = "mae.1:ref=xyz;n=7"
    (judgement,) = judge(long, [contrast("c", "other", "row-0")])
    assert judgement.verdict == "not comparable"
    assert judgement.reason == "protocols differ: mae.1:ref=abc;n=100 and mae.1:ref=xyz;n=7"


@pytest.mark.parametrize(
    ("a", "metric", "why"),
    [
        ("nowhere", "mae", "no row 'nowhere'"),
        ("row-0", "psnr", "has no value"),
        ("row-0", "peak-memory", "seeds say nothing"),
        ("row-0", "bits-per-pixel", "no direction"),
    ],
)
def test_what_cannot_be_judged_says_why(a: str, metric: str, why: str) -> None:
    (judgement,) = judge(maes(ROWS, SD, 3), [contrast("c", a, "row-1", metric)])
    assert judgement.verdict == "n/a"
    assert why in judgement.reason


def test_a_metric_per_level_is_not_judged(story: pd.DataFrame) -> None:
    (judgement,) = judge(story, [contrast("c", "aren-1", "aren-2", "perplexity")])
    assert judgement.verdict == "n/a"
    assert "per level" in judgement.reason


def test_a_metric_per_level_is_judged_at_the_level_that_is_named() -> None:
    lines = [
        line(row, seed, "active-codes", codes + seed, level=level)
        for row, codes in (("few", 40.0), ("many", 200.0))
        for level in (1, 2)
        for seed in range(3)
    ]
    (judgement,) = judge(frame(lines), [contrast("c", "few", "many", "active-codes", level=1)])
    assert judgement.verdict == "worse"
    assert judgement.difference == -160


def test_deterministic_values_need_no_seeds() -> None:
    long = frame([line("small", 0, "macs", 1e6), line("large", 0, "macs", 2e6), line("twin", 0, "macs", 2e6)])
    declared = [contrast("c", "small", "large", "macs"), contrast("d", "large", "twin", "macs")]
    assert [judgement.verdict for judgement in judge(long, declared)] == ["better", "undecided"]


def seeds(**rows: list[float]) -> pd.DataFrame:
    return frame([line(row, seed, "mae", value) for row, values in rows.items() for seed, value in enumerate(values)])


@pytest.mark.parametrize("even", [True, False])
def test_two_rows_are_the_t_test_of_scipy_pooled_only_where_their_spreads_are_even(even: bool) -> None:
    a, b = [0.0500, 0.0504, 0.0508], [0.0512, 0.0517, 0.0520] if even else [0.0512, 0.0517, 0.0820]
    (judgement,) = judge(seeds(a=a, b=b), [contrast("c", "a", "b")])
    known = stats.ttest_ind(a, b, equal_var=even)
    interval = known.confidence_interval(0.95)
    assert judgement.p == pytest.approx(known.pvalue)
    assert (judgement.low, judgement.high) == pytest.approx((interval.low, interval.high))
    own = stats.ttest_ind(a, b, equal_var=False).pvalue
    assert judgement.p_holm == pytest.approx(max(known.pvalue, own))
    first, _ = judge(seeds(a=a, b=b), [contrast("c", "a", "b"), contrast("d", "a", "nowhere")])
    assert first.p_holm == pytest.approx(max(2 * known.pvalue, 2 * own))


def test_equivalence_is_two_one_sided_tests() -> None:
    a, b, margin = np.array([0.0500, 0.0504, 0.0508]), np.array([0.0501, 0.0505, 0.0512]), 0.001
    (judgement,) = judge(seeds(a=[*a], b=[*b]), [contrast("c", "a", "b")], margin={"mae": margin})
    sides = (stats.ttest_ind(a + margin, b, alternative="greater"), stats.ttest_ind(a - margin, b, alternative="less"))
    assert judgement.p_equivalence == pytest.approx(max(side.pvalue for side in sides))


def test_holm_is_over_all_declared_contrasts_so_that_a_part_is_judged_as_the_whole() -> None:
    declared = [contrast("1", "row-0", "row-1"), contrast("2", "row-2", "row-3"), contrast("3", "nowhere", "row-3")]
    means = {**ROWS, "row-1": 0.0505, "row-3": 0.0504, "outlier": 0.05}  # so that nothing is pooled
    first, second, third = judge(maes(means, {**dict.fromkeys(means, SD), "outlier": 0.1}, 5), declared)
    small, large = sorted((first, second), key=lambda judgement: judgement.p)
    assert small.p_holm == pytest.approx(min(1, 3 * small.p))
    assert large.p_holm == pytest.approx(min(1, max(small.p_holm, 2 * large.p)))
    assert math.isnan(third.p_holm)
    assert {one.family for one in (first, second, third)} == {3}


def test_a_row_of_outlier_variance_is_undecided_below_five_seeds() -> None:
    means = {**ROWS, "outlier": 0.5}
    found = [judge(maes(means, {**dict.fromkeys(means, SD), "outlier": 0.02}, n), [contrast("c", "outlier", "row-0")])
             for n in (3, 4, 5)]  # fmt: skip
    assert [one.verdict for (one,) in found] == ["undecided", "undecided", "worse"]
    assert found[0][0].reason == "outlier is of outlier variance: a claim about it needs 5 seeds"


def test_holm_by_hand() -> None:
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.01, 0.9], family=5) == pytest.approx([0.05, 1.0])


def test_the_baseline_is_left_out_of_the_pool() -> None:
    pool = pool_spreads(maes({**ROWS, "patch-kmeans": 0.06}, {**dict.fromkeys(ROWS, SD), "patch-kmeans": 1e-7}, 3))
    assert pool.pooled == frozenset(ROWS)
    assert pool.shared.df == 12


def test_rows_that_do_not_spread_alike_are_judged_by_their_own() -> None:
    means = {**ROWS, "outlier": 0.06, "better": 0.0475}
    pool = pool_spreads(maes(means, {**dict.fromkeys(means, SD), "outlier": 0.02}, 3))
    assert (pool.outliers, pool.pooled) == ({"outlier"}, frozenset())
    assert pool.of("row-0").df == 2


def test_even_rows_are_seldom_called_outliers() -> None:
    called = sum(bool(pool_spreads(maes(ROWS, SD, 3, rng)).outliers) for rng in range(200))
    assert called <= 6


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spreads", [[1] * 6, [1, 1, 1, 1, 1, 30], [1, 1, 3, 3, 1, 3], [3, 1, 1, 1, 1, 1]])
def test_intervals_cover_and_errors_stay_within_alpha(seeds: int, spreads: list[int]) -> None:
    """150 tables without any effect: about 95 % coverage, and at most 5 % tables with a false claim, but for chance."""
    rows = {row: SD * spread for row, spread in zip(ROWS, spreads, strict=True)}
    declared = [contrast(str(i), f"row-{i}", "row-0") for i in range(1, 6)]
    tables = [judge(maes(ROWS, rows, seeds, 1000 + rng), declared) for rng in range(150)]
    covered = [one.low <= 0 <= one.high for table in tables for one in table]
    false = sum(any(one.winner for one in table) for table in tables)
    assert 0.90 <= np.mean(covered) <= 0.99
    assert stats.binomtest(false, 150, 0.05, alternative="greater").pvalue > 0.01


def test_the_detectable_effect_is_that_of_the_real_rule() -> None:
    assert smallest_difference(3, 12, 0.05) > smallest_difference(5, 24, 0.05) > smallest_difference(8, 42, 0.05)
    effect = smallest_difference(3, 12, 0.05) * SD
    tables = (maes({**ROWS, "row-1": 0.05 + effect}, SD, 3, 5000 + rng) for rng in range(200))
    found = [judge(table, [contrast("c", "row-1", "row-0")])[0].winner != "" for table in tables]
    assert np.mean(found) == pytest.approx(0.76, abs=0.08)  # a fifth of even tables is judged by own spreads
