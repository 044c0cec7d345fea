"""Wide tables, their text, and the lines below them."""

from __future__ import annotations

import io
import json
import math

import pandas as pd
import pytest
from made_records import contrast, frame, line, maes

from avq.errors import NotComparable
from avq.metrics.registry import METRICS
from avq.reporting.footer import footer
from avq.reporting.render import render
from avq.reporting.statistics import judge
from avq.reporting.tables import judged_table, left_out, wide_table


def test_rows_keep_the_order_of_the_ablation(story: pd.DataFrame) -> None:
    assert list(wide_table(story)["row"]) == list(dict.fromkeys(story["row"]))


def test_columns_are_what_was_measured(story: pd.DataFrame) -> None:
    columns = set(wide_table(story).columns)
    assert {"seeds", "failed", "bits-per-pixel", "mae", "mae:sd", "psnr", "perplexity@1", "perplexity@2"} <= columns
    assert {"attention-gain@1", "params-trainable", "macs", "receptive-field@1", "peak-memory"} <= columns
    assert not {"eye-mae", "mae-sigma", "dataset", "codebook-utilization@1"} & columns


def test_cells_are_means_and_spreads_over_seeds(story: pd.DataFrame) -> None:
    cell = wide_table(story).set_index("row").loc["aren-1"]
    values = story.loc[(story["row"] == "aren-1") & (story["metric"] == "mae"), "value"]
    assert (cell["mae"], cell["mae:sd"]) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert cell["training-time"] == pytest.approx(97)


def test_failed_runs_are_counted_and_named(story: pd.DataFrame) -> None:
    cell = wide_table(story).set_index("row").loc["aren-1-rpa"]
    assert (cell["seeds"], cell["failed"]) == (2, 1)
    assert "NaN at step 410" in cell["reason"]
    text = render(wide_table(story))
    assert " 2/3 " in text
    assert "aren-1-rpa: 1 of 3 runs failed: loss became NaN at step 410" in text


def test_a_row_that_failed_altogether_keeps_its_line() -> None:
    lost = {"status": "failed", "reason": "out of memory", "protocol": ""}
    table = wide_table(frame([line("a", 0, "mae", 0.05), line("b", 0, "mae", None, **lost)]))
    assert table.set_index("row")["mae"].to_dict() == pytest.approx({"a": 0.05, "b": math.nan}, nan_ok=True)
    assert "b: 1 of 1 runs failed: out of memory" in render(table)


def test_a_failed_cell_does_not_cost_the_run() -> None:
    lost = {"status": "failed", "reason": "too dark"}
    table = wide_table(frame([line("a", 0, "mae", 0.05), line("a", 0, "psnr", None, **lost)]))
    assert table["mae"][0] == 0.05
    assert "failed" not in table


def test_two_protocols_in_one_column_are_refused(story: pd.DataFrame) -> None:
    story.loc[(story["row"] == "aren-2") & (story["metric"] == "psnr"), "protocol"] = "psnr.2:ref=xyz"
    with pytest.raises(NotComparable, match=r"psnr was measured under two protocols.*abc.*psnr\.2:ref=xyz.*aren-2"):
        wide_table(story)


def test_mixed_presets_are_refused(story: pd.DataFrame) -> None:
    other = story[story["metric"] == "mae"].assign(value=0.04)
    with pytest.raises(NotComparable, match="several values of mae for seed 0"):
        wide_table(pd.concat([story, other]))


def test_the_same_run_twice_counts_once(story: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(wide_table(pd.concat([story, story])), wide_table(story))


def test_datasets_have_tables_of_their_own(story: pd.DataFrame) -> None:
    other = story.assign(dataset="lsun-bedroom", row=story["row"] + "[dataset=lsun-bedroom]", protocol="mae.1:ref=xyz")
    table = wide_table(pd.concat([story, other]))
    assert list(table.columns[:2]) == ["dataset", "row"]
    text = render(table)
    assert text.startswith("cifar10\n\n")
    assert "\n\nlsun-bedroom\n\n" in text
    assert footer(pd.concat([story, other])).count("100 images") == 2


def test_another_split_is_not_this_table(story: pd.DataFrame) -> None:
    story.loc[story["metric"] == "mae", "split"] = "validation"
    assert "mae" not in wide_table(story)
    assert "mae" in wide_table(story, "validation")


def test_a_record_without_rows_is_labelled_by_its_variant(story: pd.DataFrame) -> None:
    assert list(wide_table(story.drop(columns="row"))["row"]) == list(wide_table(story)["row"])


def test_unknown_metrics_of_a_newer_version_are_left_out() -> None:
    assert "novel" not in wide_table(frame([line("a", 0, "mae", 0.05), line("a", 0, "novel", 1.0)]))


def test_text_shows_the_digits_that_matter() -> None:
    lines = [line("aren-2", seed, "mae", 0.0455 + 0.0004 * seed) for seed in range(3)]
    lines += [line("aren-2", seed, "perplexity", 198.4 / level, level=level) for seed in range(3) for level in (1, 2)]
    lines += [line("aren-2", 0, "params-trainable", 851_234), line("vqvae", 0, "mae", 0.05)]
    table = wide_table(frame(lines))
    assert render(table, "markdown").splitlines() == [
        "| row | seeds | MAE ↓ | perplexity ↑ | trainable values ↓ |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| aren-2 | 3 | 0.0459 ± 0.0004 | 198 / 99 | 851 k |",
        "| vqvae | 1 | 0.0500 | - | - |",
    ]
    assert render(table).splitlines() == [
        "                                              trainable",
        "row     seeds            MAE ↓  perplexity ↑   values ↓",
        "─" * 55,
        "aren-2      3  0.0459 ± 0.0004      198 / 99      851 k",
        "vqvae       1           0.0500             -          -",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 110, 120])
def test_the_terminal_table_is_split_rather_than_too_wide(story: pd.DataFrame, width: int) -> None:
    text, _, failures = render(wide_table(story), width=width).rpartition("\n\n")
    assert "failed" in failures
    assert max(map(len, text.splitlines())) <= width
    assert text.count("row  ") == 2 if width >= 110 else text.count("row  ") > 2
    assert "…" not in text
    heads = " ".join(text.replace("↓", "").split())
    assert all(heads.count(label) == 1 for label in ("MAE", "PSNR", "attention", "MACs/image", "seeds"))


def test_metrics_left_out_are_named_and_shown_when_asked_for() -> None:
    long = frame([line("a", 0, name, 0.5) for name in ("mae", "mse", "symmetry-gap-blur", "symmetry-excess")])
    assert [name for name in wide_table(long) if name in METRICS] == ["mae", "symmetry-excess"]
    assert left_out(long) == ["mse", "symmetry-gap-blur"]
    assert "mse" in wide_table(long, asked=["mse"])
    assert left_out(long, asked=["mse"]) == ["symmetry-gap-blur"]


def test_csv_and_json_hold_the_numbers(story: pd.DataFrame) -> None:
    table = wide_table(story)
    again = pd.read_csv(io.StringIO(render(table, "csv")), float_precision="round_trip")
    assert list(again["mae"]) == list(table["mae"])
    records = json.loads(render(table, "json"))
    assert records[0]["mae"] == table["mae"][0]
    assert records[0]["perplexity@2"] is None


def test_contrasts_are_shown_with_interval_and_verdict(story: pd.DataFrame) -> None:
    declared = [
        contrast("the paper's attention", "aren-1-rpa", "aren-1"),
        contrast("normalised attention", "aren-1-rpa-mean", "aren-1"),
        contrast("left out", "aren-3", "aren-1"),
    ]
    table = judged_table(judge(story, declared, margin={"mae": 0.001}))
    assert list(table["verdict"]) == ["worse", "equivalent", "n/a"]
    text = render(table)
    assert "95 % interval" in text
    assert "a is worse" in text
    assert "+0.010" in text
    assert "there is no row 'aren-3'" in render(table, "markdown")
    assert json.loads(render(table, "json"))[2]["p"] is None


def test_no_contrasts_are_an_empty_table() -> None:
    table = judged_table([])
    assert len(table) == 0
    for style in ("table", "markdown", "csv", "json"):
        render(table, style)  # type: ignore[arg-type]


def test_a_frame_of_another_kind_is_printed_as_it_is() -> None:
    assert render(pd.DataFrame({"name": ["a"], "what": ["b | c"]}), "markdown").endswith("| a | b \\| c |")


def test_the_footer_says_what_the_table_rests_on(story: pd.DataFrame) -> None:
    text = footer(story)
    assert "cifar10, test: 100 images; seeds 0, 1, 2; MAE is mae.1:ref=abc;n=100." in text
    assert "3 seeds a side detect a difference of about 3.5" in text
    assert "Every trained row beats the k-means baseline" in text
    assert "Times and memory: two cores." in text


def test_the_footer_names_rows_below_the_baseline(story: pd.DataFrame) -> None:
    story.loc[(story["row"] == "vqvae") & (story["metric"] == "mae"), "value"] += 0.02
    assert "vqvae does not beat the k-means baseline (patch-kmeans) in mean MAE." in footer(story)


def at_rates(rows: dict[str, tuple[float, float]]) -> list[dict[str, object]]:
    """Records of rows with these MAEs and bits per pixel."""
    lines = [line(row, seed, "mae", mae + seed * 1e-4) for row, (mae, _) in rows.items() for seed in range(2)]
    return [*lines, *(line(row, 0, "bits-per-pixel", bits) for row, (_, bits) in rows.items())]


def test_the_baseline_is_that_of_the_nearest_rate() -> None:
    low, high = "patch-kmeans[codebook_size=16]", "patch-kmeans[codebook_size=1024]"
    rows = {low: (0.09, 0.25), high: (0.05, 0.625), "good": (0.08, 0.25), "bad": (0.06, 0.6)}
    text = footer(frame(at_rates(rows)))
    assert f"bad does not beat the k-means baseline ({high})" in text
    assert "good does not" not in text


def test_the_footer_names_rows_that_have_more_bits_than_the_baseline() -> None:
    rows = {"patch-kmeans": (0.06, 0.5), "plain": (0.05, 0.5), "rich": (0.05, 0.625)}
    assert "More bits per pixel than the k-means baseline's 0.500: rich (0.625)." in footer(frame(at_rates(rows)))


def test_costs_under_several_protocols_lose_their_column_and_the_footer_says_so(story: pd.DataFrame) -> None:
    assert {"macs", "mae"} <= set(wide_table(story))
    story.loc[story.index[story["metric"] == "macs"][0], "protocol"] = "macs.1:size=64"
    assert {"macs", "mae"} & set(wide_table(story)) == {"mae"}
    assert "Measured under several protocols, so without a column: MACs/image." in footer(story)


def test_the_footer_owns_up_to_one_seed_no_baseline_and_two_machines() -> None:
    times = frame([line(row, 0, "training-time", 9.0, machine=row) for row in "ab"])
    text = footer(pd.concat([maes({"a": 0.05, "b": 0.06}, 0.001, 1), times]))
    assert "nothing is decided" in text
    assert "No k-means baseline" in text
    assert "2 machines" in text


def test_the_footer_names_collapsed_codebooks() -> None:
    why = "width 48, published 256; collapsed codebook: level 2 uses 1 of 256 codes"
    reasons = ["", why, why]
    lines = [line("aren-2", seed, "perplexity", 1.0, level=2, reason=reason) for seed, reason in enumerate(reasons)]
    assert "aren-2 has a collapsed codebook at level 2 (seed 1, 2)." in footer(frame(lines))


def test_the_footer_names_rows_of_outlier_variance() -> None:
    means = {f"row-{i}": 0.05 for i in range(6)}
    text = footer(maes({**means, "outlier": 0.06}, {**dict.fromkeys(means, 0.0004), "outlier": 0.03}, 3))
    assert "undecided with fewer than 5: outlier." in text


@pytest.mark.parametrize(("width", "below"), [(200, False), (90, True)])
def test_reasons_stand_below_contrasts_that_leave_them_no_room(width: int, below: bool) -> None:
    declared = [contrast("first", "a", "b"), contrast("second", "a", "gone")]
    text = render(judged_table(judge(maes({"a": 0.05, "b": 0.06}, 0.001, 3), declared)), "table", width)
    assert ("second: there is no row 'gone'" in text.splitlines()) is below
    assert ("why" in text) is not below
    assert "there is no row 'gone'" in text
