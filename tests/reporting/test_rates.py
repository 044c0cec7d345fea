"""Rate-distortion rows: their order, the baseline, and the front."""

from __future__ import annotations

import pandas as pd
import pytest
from made_records import frame, line

from avq.errors import NotComparable, UsageError
from avq.reporting.rates import rate_distortion
from avq.reporting.render import render

ROWS = {
    "rich": (1.0, 0.03), "wasteful": (1.0, 0.05), "middle": (0.5, 0.04), "patch-kmeans": (0.5, 0.06),
    "lean": (0.25, 0.07), "dear": (0.7, 0.041),
}  # fmt: skip


@pytest.fixture
def rates() -> pd.DataFrame:
    lines = []
    for row, (bits, mae) in ROWS.items():
        lines += [line(row, seed, "bits-per-pixel", bits) for seed in (0, 1)]
        lines += [line(row, seed, "mae", mae + 1e-3 * seed) for seed in (0, 1)]
        lines += [line(row, 0, "lpips-squeeze", 2 * mae), line(row, 0, "ssim", 0.8)]
    lines.append(line("no codes", 0, "mae", 0.01))
    lines.append(line("lost", 0, "mae", None, status="failed", reason="out of memory"))
    return frame(lines)


def test_rows_stand_by_rate_and_the_front_is_marked(rates: pd.DataFrame) -> None:
    table = rate_distortion(rates)
    assert list(zip(table["row"], table["note"], strict=True)) == [
        ("lean", "front"), ("middle", "front"), ("patch-kmeans", "baseline"), ("dear", ""), ("rich", "front"),
        ("wasteful", ""), ("no codes", "no rate"),
    ]  # fmt: skip
    assert "ssim" not in table
    assert table["mae"][0] == pytest.approx(0.0705)
    assert table["mae:sd"][0] == pytest.approx(0.5**0.5 * 1e-3)


def test_a_baseline_may_be_the_front(rates: pd.DataFrame) -> None:
    rates.loc[(rates["row"] == "patch-kmeans") & (rates["metric"] == "mae"), "value"] = 0.02
    notes = rate_distortion(rates).set_index("row")["note"]
    assert notes["patch-kmeans"] == "baseline, front"
    assert notes["rich"] == notes["middle"] == ""


def test_each_dataset_has_its_front(rates: pd.DataFrame) -> None:
    other = rates.assign(dataset="lsun-bedroom", protocol="p", value=rates["value"] * 2)
    table = rate_distortion(pd.concat([rates, other]))
    assert table.groupby("dataset")["note"].apply(lambda notes: (notes == "front").sum()).tolist() == [3, 3]
    assert render(table).startswith("cifar10\n\n")


def test_what_has_no_rate_is_one_line(rates: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="no row of these results has both bits per pixel and MAE on test"):
        rate_distortion(rates[rates["metric"] != "bits-per-pixel"])
    with pytest.raises(UsageError, match="on validation"):
        rate_distortion(rates, "validation")


def test_two_protocols_are_refused(rates: pd.DataFrame) -> None:
    rates.loc[(rates["row"] == "lean") & (rates["metric"] == "mae"), "protocol"] = "mae.2"
    with pytest.raises(NotComparable, match="two protocols"):
        rate_distortion(rates)
