"""Verdicts: right for planted effects, none where nothing differs, undecided where the data do not decide."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_records import contrast, frame, line, maes
from scipy import stats

from avq.reporting.noise import smallest_difference
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


def test_two_rows_are_the_pooled_t_test_of_scipy() -> None:
    long = maes({"a": 0.05, "b": 0.0505}, SD, 4)
    a, b = (long.loc[long["row"] == row, "value"] for row in "ab")
    (judgement,) = judge(long, [contrast("c", "a", "b")])
    known = stats.ttest_ind(a, b)
    interval = known.confidence_interval(0.95)
    assert judgement.p == pytest.approx(known.pvalue)
    assert (judgement.low, judgement.high) == pytest.approx((interval.low, interval.high))


def test_equivalence_is_the_tost_of_statsmodels() -> None:
    from statsmodels.stats.weightstats import ttost_ind

    long = maes({"a": 0.05, "b": 0.0502}, SD, 4)
    a, b = (long.loc[long["row"] == row, "value"] for row in "ab")
    (judgement,) = judge(long, [contrast("c", "a", "b")], margin={"mae": 0.001})
    assert judgement.p_equivalence == pytest.approx(ttost_ind(a, b, -0.001, 0.001)[0])


def test_holm_is_over_all_declared_contrasts_so_that_a_part_is_judged_as_the_whole() -> None:
    declared = [contrast("1", "row-0", "row-1"), contrast("2", "row-2", "row-3"), contrast("3", "nowhere", "row-3")]
    first, second, third = judge(maes(ROWS, SD, 3), declared)
    small, large = sorted((first, second), key=lambda judgement: judgement.p)
    assert small.p_holm == pytest.approx(min(1, 3 * small.p))
    assert large.p_holm == pytest.approx(min(1, max(small.p_holm, 2 * large.p)))
    assert math.isnan(third.p_holm)


def test_the_baseline_is_left_out_of_the_pool() -> None:
    pool = pool_spreads(maes({**ROWS, "patch-kmeans": 0.06}, {**dict.fromkeys(ROWS, SD), "patch-kmeans": 1e-7}, 3))
    assert pool.pooled == frozenset(ROWS)
    assert pool.shared.df == 12


def test_a_row_of_outlier_variance_is_judged_by_its_own_spread() -> None:
    means = {**ROWS, "outlier": 0.06, "better": 0.0475}
    long = maes(means, {**dict.fromkeys(means, SD), "outlier": 0.02}, 3)
    assert pool_spreads(long).outliers == {"outlier"}
    assert verdicts(long, ("better", "row-0"), ("outlier", "row-0")) == ["better", "undecided"]


def test_even_rows_are_seldom_called_outliers() -> None:
    called = sum(bool(pool_spreads(maes(ROWS, SD, 3, rng)).outliers) for rng in range(200))
    assert called <= 6


@pytest.mark.parametrize("outlier", [1.0, 30.0])
def test_intervals_cover_and_errors_stay_within_alpha(outlier: float) -> None:
    """200 tables without any effect: about 95 % coverage, and at most about 5 % tables with a false claim."""
    spread = {**dict.fromkeys(ROWS, SD), "row-5": outlier * SD}
    declared = [contrast(str(i), f"row-{i}", "row-0") for i in range(1, 6)]
    covered, false = [], 0
    for rng in range(200):
        judgements = judge(maes(ROWS, spread, 3, 1000 + rng), declared)
        covered += [judgement.low <= 0 <= judgement.high for judgement in judgements]
        false += any(judgement.verdict != "undecided" for judgement in judgements)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert false / 200 <= 0.09


def test_the_detectable_effect_is_what_the_design_says() -> None:
    """About 2.5 standard deviations for three seeds a side, 1.7 for five (design.md, section 3, rule 2)."""
    assert detectable_effect(3, 16) == pytest.approx(2.5, abs=0.15)
    assert detectable_effect(5, 60) == pytest.approx(1.8, abs=0.1)
    assert detectable_effect(3, 2) > detectable_effect(3, 20) > detectable_effect(6, 20)


def test_the_detectable_effect_has_the_power_it_claims() -> None:
    effect = detectable_effect(3, 12) * SD
    tables = (maes({**ROWS, "row-1": 0.05 + effect}, SD, 3, 5000 + rng) for rng in range(150))
    found = [judge(table, [contrast("c", "row-1", "row-0")])[0].p < 0.05 for table in tables]
    assert np.mean(found) == pytest.approx(0.8, abs=0.09)
