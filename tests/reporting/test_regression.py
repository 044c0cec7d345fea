"""`check`: what fails, what passes, and what is not compared."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pandas as pd
import pytest
from made_records import frame, line, maes

from avq.errors import NotComparable
from avq.reporting.cells import Check, smallest_caught
from avq.reporting.health import Note
from avq.reporting.regression import check
from avq.reporting.regression_output import changes, show

ROWS = {f"row-{index}": 0.05 for index in range(6)}
SD = 0.0003


def verdict(found: Check, row: str, metric: str) -> str:
    (cell,) = [cell for cell in found.cells if (cell.row, cell.column) == (row, metric)]
    return cell.verdict


def changed(long: pd.DataFrame, row: str, metric: str, by: float) -> pd.DataFrame:
    """A copy of the table in which these values (of all rows where `row` is empty) are multiplied by `by`."""
    now, rows = long.copy(), (long["row"] == row) if row else True
    now.loc[rows & (now["metric"] == metric), "value"] *= by
    return now


def with_allowed(found: Check, *kinds: str) -> int:
    """The exit code of the same check with these kinds of findings allowed."""
    return replace(found, allowed=frozenset(kinds)).exit_code


def test_the_same_table_is_good(story: pd.DataFrame) -> None:
    found = check(story, story, margin={"mae": 0.002})
    assert found.exit_code == 0
    assert {cell.verdict for cell in found.cells if cell.metric == "mae"} == {"same"}
    assert verdict(found, "aren-1", "macs") == "equal"
    assert verdict(found, "aren-1", "peak-memory") == "similar"
    assert verdict(found, "aren-1", "training-time") == "advice"


@pytest.mark.parametrize(
    ("mean", "code", "found_as"), [(0.05, 0, "undecided"), (0.0535, 1, "regressed"), (0.0465, 0, "better")]
)
def test_a_loss_in_one_row_is_found_and_only_there(mean: float, code: int, found_as: str) -> None:
    """Fresh seeds and a gain are good."""
    found = check(maes(ROWS, SD, 3, 1), maes({**ROWS, "row-2": mean}, SD, 3, 2))
    assert (found.exit_code, verdict(found, "row-2", "mae")) == (code, found_as)
    assert [cell.row for cell in found.cells if cell.verdict == "regressed"] == ["row-2"] * code


def test_a_gain_is_better_where_a_margin_is_declared_too_and_other_code_is_said() -> None:
    now = maes({**ROWS, "row-2": 0.0465}, SD, 3, 2)
    for code, reason in (("0123", ""), ("4567", "trained by other code")):
        found = check(maes(ROWS, SD, 3, 1), now.assign(code=code), margin={"mae": 0.002})
        (cell,) = [cell for cell in found.cells if cell.verdict == "better"]
        assert (cell.row, cell.reason) == ("row-2", reason)


@pytest.mark.parametrize("factors", [(1, 2, 1), (1, 1, 10), (100, 1, 1), (2, 1.3, 1.15)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_loss_does_not_hide_behind_the_spread_that_it_makes(seeds: int, factors: tuple[float, ...]) -> None:
    now = maes(ROWS, SD, 3, 2)
    now.loc[now["row"] == "row-2", "value"] *= list(factors)
    found = check(maes(ROWS, SD, seeds, 1), now)
    assert [cell.row for cell in found.cells if found.fails(cell)] == ["row-2"]


def test_the_largest_undecided_losses_are_named() -> None:
    found = check(maes(ROWS, SD, 3, 1), maes({**ROWS, "row-4": 0.0505}, SD, 3, 2))
    assert (found.exit_code, found.undecided[0].row) == (0, "row-4")
    assert "The largest losses that the seeds do not decide:" in show(found, "table").partition("row-4")[0]


@pytest.mark.parametrize("lose", ["seed", "value", "empty"])
def test_a_seed_that_is_gone_or_has_no_value_is_a_finding(story: pd.DataFrame, lose: str) -> None:
    now, where = story.copy(), (story["row"] == "aren-2") & (story["seed"] == 1)
    if lose == "seed":
        now = now[~where]
    else:
        now.loc[where & (now["metric"] == "mae"), "value"] = float("nan")
        now.loc[where & (now["metric"] == "mae"), "status"] = "ok" if lose == "value" else "n/a"
    found = check(story, now)
    failing = [(one.row, one.kind if isinstance(one, Note) else one.verdict)
               for one in (*found.notes, *found.cells) if found.fails(one)]  # fmt: skip
    assert (found.exit_code, failing) == (1, [("aren-2", "missing")])
    assert "seed 1" in show(found, "table")
    assert with_allowed(found, "missing") == 0


def test_an_empty_table_is_one_line(story: pd.DataFrame) -> None:
    with pytest.raises(NotComparable, match="the baseline has no records"):
        check(story.iloc[:0], story)
    with pytest.raises(NotComparable, match="the results have no records"):
        check(story, story.iloc[:0])


def test_a_table_of_fewer_seeds_is_no_finding_and_says_so() -> None:
    found = check(maes(ROWS, SD, 5, 1), maes(ROWS, SD, 3, 2))
    assert found.exit_code == 0
    assert "Seeds of the baseline that no row has now: 3, 4." in show(found, "table")


def test_higher_is_better_for_psnr() -> None:
    rows = dict.fromkeys(ROWS, 24.0)
    before, now = maes(rows, 0.05, 3, 1), maes({**rows, "row-1": 22.5}, 0.05, 3, 2)
    found = check(before.assign(metric="psnr"), now.assign(metric="psnr"))
    assert verdict(found, "row-1", "psnr") == "regressed"
    assert check(now.assign(metric="psnr"), before.assign(metric="psnr")).exit_code == 0


def test_a_sure_loss_within_the_margin_passes() -> None:
    before, now = maes(ROWS, 1e-5, 3, 1), maes({**ROWS, "row-2": 0.0502}, 1e-5, 3, 2)
    assert check(before, now).exit_code == 1
    found = check(before, now, margin={"mae": 0.001})
    assert found.exit_code == 0
    assert "within the margin" in next(cell.reason for cell in found.cells if cell.row == "row-2")


def test_a_row_of_outlier_variance_is_judged_by_its_own_spread() -> None:
    spreads = {**dict.fromkeys(ROWS, SD), "outlier": 0.01}
    means = {**ROWS, "outlier": 0.08}
    found = check(maes(means, spreads, 3, 1), maes({**means, "outlier": 0.084, "row-1": 0.0535}, spreads, 3, 2))
    assert verdict(found, "outlier", "mae") == "undecided"
    assert verdict(found, "row-1", "mae") == "regressed"


def test_one_seed_now_is_judged_by_the_baselines_spread() -> None:
    now = maes({**ROWS, "row-2": 0.06}, SD, 1, 2)
    found = check(maes(ROWS, SD, 5, 1), now)
    assert verdict(found, "row-2", "mae") == "regressed"
    assert verdict(found, "row-1", "mae") == "undecided"


def test_one_seed_a_side_is_not_comparable() -> None:
    found = check(maes(ROWS, SD, 1, 1), maes(ROWS, SD, 1, 2))
    assert found.exit_code == 3
    assert "one seed a side" in found.incomparable


@pytest.mark.parametrize("metric", ["macs", "params-trainable", "receptive-field@1", "bits-per-pixel"])
def test_deterministic_values_must_be_equal(story: pd.DataFrame, metric: str) -> None:
    found = check(story, changed(story, "aren-1", metric.split("@")[0], 1.001))
    assert (found.exit_code, verdict(found, "aren-1", metric)) == (1, "changed")


@pytest.mark.parametrize(
    "metric", ["params-trainable", "params-codebook", "params-buffers", "macs", "receptive-field", "latent-height",
               "latent-width", "attention-memory-analytic"],
)  # fmt: skip
def test_a_change_of_any_deterministic_cost_fails(metric: str) -> None:
    """As the isolated benchmark records them: of no seed and no split."""
    level = 2 if metric in ("receptive-field", "latent-height", "latent-width", "attention-memory-analytic") else None
    lines = [line(row, 0, metric, 64.0 + i, split="", level=level) for i, row in enumerate(ROWS)]
    costs = frame(lines).assign(seed=pd.array([None] * len(ROWS), dtype="Int64"))
    before = pd.concat([maes(ROWS, SD, 3, 1), costs], ignore_index=True)
    assert check(before, before).exit_code == 0
    found = check(before, changed(before, "row-2", metric, 1.01))
    failing = [(cell.row, cell.metric, cell.verdict) for cell in found.cells if found.fails(cell)]
    assert (found.exit_code, failing) == (1, [("row-2", metric, "changed")])


def test_rows_added_and_missing_fail_unless_allowed(story: pd.DataFrame) -> None:
    less = story[story["row"] != "vqvae"]
    missing, added = check(story, less), check(less, story)
    assert [(note.kind, note.row) for note in missing.notes if note.fails] == [("missing", "vqvae")]
    assert missing.exit_code == added.exit_code == 1
    assert with_allowed(missing, "missing") == with_allowed(added, "added") == 0
    assert check(story, less, allowed=["missing"]).exit_code == 0


def test_a_missing_metric_fails_and_a_new_one_does_not(story: pd.DataFrame) -> None:
    less = story[story["metric"] != "psnr"]
    found = check(story, less)
    assert (found.exit_code, verdict(found, "vqvae", "psnr")) == (1, "missing")
    assert check(less, story).exit_code == 0


def test_failed_runs_are_judged_apart(story: pd.DataFrame) -> None:
    assert check(story, story).exit_code == 0  # one of three failed before, and does now
    sound = story[~((story["row"] == "aren-1") & (story["seed"] == 1))]
    lost = line("aren-1", 1, "mae", None, status="failed", reason="nan", protocol="")
    found = check(story, frame([*sound.to_dict("records"), lost]))
    assert found.exit_code == 1
    (note,) = [note for note in found.notes if note.fails]
    assert (note.kind, note.row) == ("failed", "aren-1")
    assert "1 of 3 runs now, 0 of 3 before; seed 1: nan" in note.reason
    assert with_allowed(found, "failed") == 0


def test_a_row_that_failed_altogether_is_said_once(story: pd.DataFrame) -> None:
    lost = [line("vqvae", seed, "mae", None, status="failed", reason="nan", protocol="") for seed in range(3)]
    found = check(story, frame([*story[story["row"] != "vqvae"].to_dict("records"), *lost]))
    assert found.exit_code == 1
    assert not [cell for cell in found.cells if cell.row == "vqvae"]


def test_collapsed_runs_are_judged_apart_and_left_out(story: pd.DataFrame) -> None:
    now = story.copy()
    sick = (now["row"] == "aren-1") & (now["seed"] == 1)
    now.loc[sick & (now["metric"] == "perplexity"), "reason"] = "collapsed codebook: level 1 uses 1 of 256 codes"
    now.loc[sick & (now["metric"] == "mae"), "value"] = 0.3
    found = check(story, now)
    assert [(note.kind, note.row) for note in found.notes if note.fails] == [("collapsed", "aren-1")]
    assert verdict(found, "aren-1", "mae") == "undecided"
    assert with_allowed(found, "collapsed") == 0


def test_other_protocols_are_never_compared(story: pd.DataFrame) -> None:
    now = changed(story, "", "mae", 2)
    now.loc[now["metric"] == "mae", "protocol"] = "mae.2:ref=abc"
    found = check(story, now)
    assert found.exit_code == 3
    assert "mae" in found.incomparable
    assert with_allowed(found, "protocol") == 0


def test_a_regression_goes_before_not_comparable(story: pd.DataFrame) -> None:
    now = changed(story, "", "macs", 2)
    now.loc[now["metric"] == "psnr", "protocol"] = "psnr.9"
    assert check(story, now).exit_code == 1


def test_costs_count_on_the_same_machine_only(story: pd.DataFrame) -> None:
    now = changed(story, "", "train-images-per-s", 0.5)
    found = check(story, now)
    assert (found.exit_code, with_allowed(found, "timing")) == (1, 0)
    found = check(story, now.assign(machine="another"))
    assert (found.exit_code, verdict(found, "aren-1", "train-images-per-s")) == (0, "advice")


def test_a_rounding_difference_without_any_spread_is_no_loss() -> None:
    before, now = maes(ROWS, 0.0, 3), maes(ROWS, 0.0, 3)
    now["value"] += 1e-10
    assert check(before, now).exit_code == 0
    now["value"] += 1e-4
    assert check(before, now).exit_code == 1


def test_the_loss_that_is_named_is_caught_in_95_of_100_checks() -> None:
    caught = 0
    for rng in range(40):
        before = maes(ROWS, SD, 3, 2 * rng)
        cell, loss = smallest_caught(check(before, maes(ROWS, SD, 3, 2 * rng + 1)), "mae")  # type: ignore[misc]
        found = check(before, maes({**ROWS, cell.row: 0.05 + loss}, SD, 3, 2 * rng + 1))
        caught += verdict(found, cell.row, "mae") == "regressed"
    assert caught >= 34  # 95 % but for chance, and for what the spread of a table of six rows is off


def test_every_form_says_the_same(story: pd.DataFrame) -> None:
    now = changed(story, "vqvae", "mae", 1.4).assign(experiment="story")
    found = check(story, now, margin={"mae": 0.001})
    text, markdown = show(found, "table"), show(found, "markdown")
    assert text.startswith("story: regressed")
    assert "vqvae  MAE" in text
    assert markdown.startswith("### ❌ story: **regressed**")
    assert "| vqvae | MAE |" in markdown
    assert "<details>" in markdown
    stored = json.loads(show(found, "json"))
    assert stored["exit_code"] == 1
    assert {(c["row"], c["metric"]) for c in stored["cells"] if c["fails"]} == {("vqvae", "mae")}
    suite = ElementTree.fromstring(show(found, "junit").encode()).find("testsuite")
    assert int(suite.get("tests", 0)) == len(suite.findall("testcase")) == len(stored["cells"]) + len(stored["rows"])
    assert suite.get("failures") == "1" == str(len(suite.findall("testcase/failure")))
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))


def test_the_changes_of_an_update_name_old_and_new(story: pd.DataFrame) -> None:
    (line,) = changes(check(story, changed(story, "vqvae", "macs", 2))).to_dict("records")
    assert (line["row"], line["before"], line["now"]) == ("vqvae", "41 M", "82 M")
