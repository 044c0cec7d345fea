"""Figures are right, say in words what they show, touch no global state, and refuse what they cannot show."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from made_records import contrast, frame, line
from PIL import Image

from avq.errors import AvqError, NotComparable
from avq.reporting import figures
from avq.reporting.figures import Picture
from avq.reporting.figures.style import BASELINE_INK, looks
from avq.reporting.statistics import judge


def pixels(picture: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(picture.png())) as image:
        return np.asarray(image.convert("RGB"))


def on_axes(story: pd.DataFrame) -> pd.DataFrame:
    """The story with its two axes, as a composed table has them."""
    places = {
        "aren-1": ("1", "none"), "aren-1-rpa": ("1", "paper"), "aren-1-rpa-mean": ("1", "normalised"),
        "aren-2": ("2", "none"), "aren-2-rpa-mean": ("2", "normalised"),
    }  # fmt: skip
    levels, attention = ({row: place[i] for row, place in places.items()} for i in range(2))
    names = [name for name in story if name != "row"]
    story = story[[*names, "row"]]
    return story.assign(levels=story["row"].map(levels).fillna(""), attention=story["row"].map(attention).fillna(""))


def made_log(rows: int, steps: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"row": f"row-{row}", "seed": seed,
             "step": 50 * step, "validation-mae": 0.05 + row / 100 + 0.2 / (step + 1)}
            for row in range(rows)
            for seed in range(2)
            for step in range(steps)
        ]
    )  # fmt: skip


def made_long(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"row": [f"row-{row}" for row in range(rows)], "variant": "v"})


def test_the_grid_shows_every_image_unchanged(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 5, 1, 1, 3), dtype=np.uint8)
    original, rebuilt = (np.broadcast_to(colours[i], (5, 32, 32, 3)) for i in range(2))
    label = "aren-1[codebook_size=64]"
    path = figures.reconstruction_grid(original, {label: rebuilt}, tmp_path / "g.png", {label: "MAE"})
    with Image.open(path) as image:
        drawn = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
    shown = {tuple(int(c) for c in colour) for colour in drawn}
    assert {tuple(int(c) for c in colour) for colour in colours.reshape(-1, 3)} <= shown


def test_the_error_grid_is_white_where_nothing_is_wrong() -> None:
    original = np.full((2, 8, 8, 3), 100, np.uint8)
    rows = {"right": original, "wrong": original + np.uint8(50)}
    shown = {tuple(colour) for colour in pixels(figures.error_grid(original, rows)).reshape(-1, 3)}
    none, most = ((np.array(mpl.colormaps["magma_r"](x)[:3]) * 255).round().astype(int) for x in (0.0, 1.0))
    assert {tuple(none), tuple(most), (100, 100, 100), (150, 150, 150)} <= shown


def test_the_grids_refuse_rows_of_another_shape(tmp_path: Path) -> None:
    original, odd = np.zeros((2, 8, 8, 3), np.uint8), {"odd": np.zeros((2, 4, 4, 3), np.uint8)}
    with pytest.raises(AvqError, match="'odd' is uint8"):
        figures.reconstruction_grid(original, odd, tmp_path / "g.png")
    with pytest.raises(AvqError, match="'odd' is uint8"):
        figures.error_grid(original, odd)


def test_curves_are_drawn_for_many_rows_without_global_state() -> None:
    log, before = made_log(12), dict(mpl.rcParams)
    log.loc[3, "validation-mae"] = None
    picture = figures.validation_curves(log, made_long(12))
    assert pixels(picture).std() > 1
    assert "row-0 0.0700" in picture.alt
    assert dict(mpl.rcParams) == before


def test_a_single_point_is_a_curve_too_and_none_is_none() -> None:
    assert figures.validation_curves(made_log(1, steps=1), made_long(1)) is not None
    assert figures.validation_curves(made_log(1).assign(**{"validation-mae": np.nan}), made_long(1)) is None


def test_values_by_row_are_drawn(story: pd.DataFrame) -> None:
    picture = figures.values_by_row(story)
    assert pixels(picture).std() > 1
    assert "patch-kmeans 0.05947" in picture.alt
    figures.values_by_row(story[story["seed"] == 0]).png()


def test_values_of_two_protocols_or_datasets_are_not_drawn(story: pd.DataFrame) -> None:
    with pytest.raises(AvqError, match="one dataset, got 0"):
        figures.values_by_row(story, split="train")
    story.loc[story["row"] == "aren-2", "protocol"] = "other"
    with pytest.raises(NotComparable, match="two protocols"):
        figures.values_by_row(story)


def test_rows_keep_their_looks_by_axis(story: pd.DataFrame) -> None:
    shown = looks(on_axes(story))
    assert list(shown) == list(dict.fromkeys(story["row"]))
    assert shown["aren-1"].color == shown["aren-2"].color
    assert shown["aren-1"].marker != shown["aren-2"].marker
    assert shown["aren-1-rpa-mean"].color != shown["aren-1"].color
    assert shown["patch-kmeans"].color == BASELINE_INK


def test_contrasts_are_drawn_with_their_verdicts(story: pd.DataFrame) -> None:
    declared = [contrast("attention", "aren-1-rpa", "aren-1"), contrast("nothing", "nowhere", "aren-1")]
    picture = figures.contrast_intervals(judge(story, declared, margin={"mae": 0.001}))
    assert "attention: +0.0" in picture.alt
    assert "worse" in picture.alt
    assert "nothing" not in picture.alt
    drawn = {text.get_text() for text in picture.figure.axes[0].texts}
    assert drawn == {"attention", "worse"}
    assert figures.contrast_intervals(judge(story, declared[1:])) is None


def test_values_by_axis_need_an_axis(story: pd.DataFrame) -> None:
    assert figures.values_by_axis(story) is None
    picture = figures.values_by_axis(on_axes(story))
    assert "levels 2, attention normalised: 0.0" in picture.alt
    assert "Beside: vqvae: 0.0" in picture.alt


def test_what_is_worse_than_the_baseline_is_marked_off_the_scale(story: pd.DataFrame) -> None:
    story.loc[(story["row"] == "aren-1-rpa") & (story["metric"] == "mae"), "value"] *= 3
    picture = figures.pareto(story)
    top = picture.figure.axes[0].get_ylim()[1]
    mean = story.loc[(story["row"] == "aren-1-rpa") & (story["metric"] == "mae"), "value"].mean()
    assert top < mean
    assert f"{mean:.3f}" in {text.get_text() for text in picture.figure.axes[0].texts}


def test_where_most_rows_lose_to_the_baseline_all_are_shown(story: pd.DataFrame) -> None:
    story.loc[(story["variant"] != "patch-kmeans") & (story["metric"] == "mae"), "value"] *= 3
    picture = figures.pareto(story)
    low, high = picture.figure.axes[0].get_ylim()
    means = story[story["metric"] == "mae"].groupby("row")["value"].mean()
    assert low < means.min()
    assert high > means.max()


def test_the_pareto_front_holds_what_no_other_row_beats(story: pd.DataFrame) -> None:
    lines = [
        line(row, 0, metric, value, split="test" if metric in ("mae", "bits-per-pixel") else "")
        for row, mae, size, rate in (
            ("small", 0.06, 1e6, 0.5), ("good", 0.04, 3e6, 0.5), ("beaten", 0.05, 4e6, 0.5), ("rich", 0.01, 2e6, 0.9),
        )
        for metric, value in (("mae", mae), ("params-trainable", size), ("bits-per-pixel", rate))
    ]  # fmt: skip
    picture = figures.pareto(frame(lines))
    assert picture.alt.endswith("by trainable values, millions: small, good.")


def test_costs_under_two_protocols_are_left_out(story: pd.DataFrame) -> None:
    story.loc[(story["metric"] == "peak-memory") & (story["row"] == "aren-2"), "protocol"] = "other"
    picture = figures.pareto(story)
    assert "memory" not in picture.alt
    assert "trainable values" in picture.alt


def test_rate_distortion_needs_a_rate(story: pd.DataFrame) -> None:
    picture = figures.rate_distortion(story)
    assert "aren-1 0.0466 at 0.470" in picture.alt
    assert figures.rate_distortion(story[story["metric"] != "bits-per-pixel-entropy"]) is None


def test_codebook_bars_are_perplexity_over_the_size_of_the_codebook() -> None:
    values = (("active-codes", 128.0), ("codebook-utilization", 0.5), ("perplexity", 64.0))
    picture = figures.codebook_usage(frame([line("r", 0, metric, value, level=1) for metric, value in values]))
    (bar,) = picture.figure.axes[0].patches
    assert bar.get_width() == pytest.approx(64 / 256)
    assert "128 codes used (50%), perplexity 64" in picture.alt


def test_codebooks_without_usage_have_no_picture(story: pd.DataFrame) -> None:
    assert figures.codebook_usage(story) is None


def scaled(sizes: tuple[int, ...] = (16, 32, 64)) -> pd.DataFrame:
    """Records of `scale`: dense by the fourth power, and not run at the largest; linear by the second."""
    factors = {"memory": 0.01, "time": 1e-6, "memory-predicted": 0.009, "time-predicted": 1e-6}
    table = pd.DataFrame([
        {"metric": f"attention-{quantity}", "status": "ok", "value": factor * side**power, "variant": "attention",
         "row": f"{implementation}-{side}", "latent_size": str(side), "similarity": "softmax",
         "implementation": implementation, "pass": "forward", "reason": ""}
        for side in sizes
        for implementation, power in (("dense", 4), ("linear", 2))
        for quantity, factor in factors.items()
    ])  # fmt: skip
    lost = (table["row"] == "dense-64") & ~table["metric"].str.endswith("predicted")
    table.loc[lost, ["status", "value", "reason"]] = ["n/a", float("nan"), "does not fit"]
    return table


def test_memory_and_time_against_the_size_of_the_latent() -> None:
    picture = figures.attention_scaling(scaled())
    assert "softmax, linear, forward: 41.0 MiB at 64" in picture.alt
    assert "softmax, dense, forward: 10485.8 MiB at 32" in picture.alt
    memory, time = picture.figure.axes
    assert [text.get_text() for text in (*memory.texts, *time.texts)] == ["not run", "not run"]
    crosses = [line for line in memory.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[16, 32, 64], [16, 32, 64]]
    assert memory.get_xscale() == memory.get_yscale() == "log"


def test_one_size_or_other_records_have_no_such_picture(story: pd.DataFrame) -> None:
    assert figures.attention_scaling(scaled(sizes=(16,))) is None
    assert figures.attention_scaling(story) is None


def test_a_picture_is_the_same_svg_each_time(tmp_path: Path) -> None:
    first, second = (figures.attention_scaling(scaled()) for _ in range(2))
    path = first.save(tmp_path / "growth.svg")
    assert path.read_bytes() == second.svg()
    assert b">memory, MiB</text>" in path.read_bytes()


def test_a_picture_in_a_notebook_carries_its_words(story: pd.DataFrame) -> None:
    picture = figures.values_by_row(story)
    data, about = picture._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == about["image/png"]["alt"] == picture.alt
