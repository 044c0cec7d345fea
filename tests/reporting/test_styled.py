"""Styled tables: the best in bold, what is undecided in grey, and under each what it rests on."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from made_records import contrast, frame, line

from avq.reporting.statistics import judge
from avq.reporting.styled import BEST, QUIET, cost_table, listing, quality_table, verdict_table
from avq.reporting.tables import judged_table

pytest.importorskip("jinja2")


def styles(table, column: str) -> dict[str, str]:
    """By the first cell of a row, the CSS of `column`."""
    styler = table.styler
    styler._compute()
    at = list(styler.data.columns).index(column)
    css = {row: ";".join(f"{k}: {v}" for k, v in styler.ctx[row, at]) for row in range(len(styler.data))}
    return {str(styler.data.iloc[row, 0]): text for row, text in css.items()}


def test_the_best_mean_of_a_rate_is_bold(story: pd.DataFrame) -> None:
    story.loc[(story["row"] == "aren-2-rpa-mean") & (story["metric"] == "bits-per-pixel"), "value"] = 0.625
    bold = [row for row, css in styles(quality_table(story), "MAE ↓").items() if BEST in css]
    assert bold == ["aren-2"]


def test_the_baseline_is_no_best_of_costs(story: pd.DataFrame) -> None:
    story = pd.concat([story, frame([line("patch-kmeans", 0, "params-trainable", 0.0, split="")])], ignore_index=True)
    table = cost_table(story)
    bold = [row for row, css in styles(table, "trainable values ↓").items() if BEST in css]
    assert bold == ["vqvae"]


def test_undecided_is_grey_and_decided_is_not(story: pd.DataFrame) -> None:
    declared = [contrast("sure", "aren-1", "vqvae"), contrast("unsure", "aren-1-rpa-mean", "aren-1")]
    table = verdict_table(judged_table(judge(story, declared)))
    grey = {row: QUIET in css for row, css in styles(table, "a − b").items()}
    assert grey == {"sure": False, "unsure": True}
    assert verdict_table(judged_table([])) is None


def test_protocol_and_n_stand_under_the_table(story: pd.DataFrame) -> None:
    page = quality_table(story)._repr_html_()
    assert "100 images; seeds 0, 1, 2; MAE is mae.1:ref=abc;n=100." in page
    assert "<li>PSNR dB: psnr.1:ref=abc;n=100</li>" in page
    assert "loss became NaN at step 410" in page


def test_levels_stand_side_by_side(story: pd.DataFrame) -> None:
    data = quality_table(story).styler.data.set_index("row")
    assert data.loc["aren-2", "perplexity ↑"] == "150 / 100"
    assert data.loc["aren-1", "perplexity ↑"] == "150"


def test_no_costs_no_table(story: pd.DataFrame) -> None:
    assert cost_table(story[story["metric"] == "mae"]) is None


def test_names_from_files_cannot_break_the_page() -> None:
    page = listing(pd.DataFrame({"row": ["<script>x</script>"]}), "rows")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_ids_are_the_same_in_every_run_and_differ_between_tables(story: pd.DataFrame) -> None:
    def ids(table) -> set[str]:
        return set(re.findall(r"#T_([\w-]+?)_", table._repr_html_()))

    one, again, other = (ids(quality_table(part)) for part in (story, story, story[story["row"] != "vqvae"]))
    assert one == again
    assert not one & other
