"""Answers follow from the verdicts, in words that claim no more than they do."""

from __future__ import annotations

import pandas as pd
import pytest
from made_records import contrast, maes

from avq.reporting.answers import answers, best_rows, summary
from avq.reporting.statistics import judge

ROWS = {f"row-{index}": 0.05 for index in range(6)}


def answer(long: pd.DataFrame, a: str, b: str, **how: object):
    (found,) = answers(judge(long, [contrast("c", a, b)], **how))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("a", "verdict", "words"),
    [
        ("good", "better", "good is better than row-0: MAE 0.00"),
        ("bad", "worse", "bad is worse than row-0: MAE 0.01"),
        ("row-1", "equivalent", "row-1 is as good as row-0: they differ by less than 0.004"),
    ],
)
def test_what_is_decided_is_said(a: str, verdict: str, words: str) -> None:
    found = answer(maes({**ROWS, "good": 0.04, "bad": 0.06}, 0.0004, 3), a, "row-0", margin={"mae": 0.004})
    assert found.verdict == verdict
    assert found.sentence.startswith(words)


def test_direction_and_size_are_right() -> None:
    sentence = answer(maes({**ROWS, "good": 0.04}, 1e-6, 3), "good", "row-0").sentence
    assert "MAE 0.01000 (20.0 %) lower (95 % interval −0.01" in sentence


def test_what_is_undecided_claims_nothing() -> None:
    found = answer(maes(ROWS, 0.0004, 3), "row-1", "row-0")
    assert found.verdict == "undecided"
    assert "do not decide whether that is chance, which does not mean that there is no difference" in found.sentence
    assert "better" not in found.sentence


def test_an_interval_that_leaves_out_zero_but_is_undecided_is_explained() -> None:
    long = maes({**ROWS, "near": 0.05045}, 0.0004, 3)
    declared = [contrast("c", "near", "row-0"), *(contrast(f"{i}", f"row-{i}", "row-0") for i in range(1, 6))]
    judged = judge(long, declared)
    assert judged[0].p < 0.05 < judged[0].p_holm  # what was planted
    assert "leaves out zero" in answers(judged)[0].sentence


def test_one_seed_and_missing_rows_say_so() -> None:
    assert "one seed a side" in answer(maes(ROWS, 0.0004, 1), "row-0", "row-1").sentence
    assert answer(maes(ROWS, 0.0004, 3), "nowhere", "row-1").sentence == "Not judged: there is no row 'nowhere'."


def test_the_summary_counts_every_verdict() -> None:
    long = maes({**ROWS, "good": 0.04}, 0.0004, 3)
    pairs = (("good", "row-0"), ("row-1", "row-0"), ("nowhere", "row-0"))
    said = summary(judge(long, [contrast(a, a, b) for a, b in pairs]))
    assert said == "3 comparisons were declared before training: 1 found better, 1 undecided, 1 not judged."
    assert "describe" in summary([])


def test_the_best_row_is_one_of_its_own_rate(story: pd.DataFrame) -> None:
    story.loc[(story["row"] == "aren-2-rpa-mean") & (story["metric"] == "bits-per-pixel"), "value"] = 0.625
    (line,) = best_rows(story)
    assert line.startswith("On cifar10 at 0.500 bits per pixel, aren-2 has the best mean MAE but for the baseline, 0.0")
    assert "the k-means baseline, patch-kmeans, has 0.0" in line
