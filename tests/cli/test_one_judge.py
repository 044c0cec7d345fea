"""One judge: whatever shows a verdict, a p value or the best row, shows the same."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made_records import maes

import avq
from avq.design.ablation import Ablation, load_ablation
from avq.files import write_json
from avq.reporting.report import Report
from avq.reporting.statistics import judged
from avq.store.declared import ablation_of
from avq.store.record import COLUMNS, to_csv

pytest.importorskip("jinja2")
LEVELS = load_ablation("ablation_levels")
MEANS = {"aren-1": 0.0466, "aren-1-rpa": 0.0560, "aren-1-rpa-mean": 0.0467, "aren-2": 0.0466, "vqvae": 0.0480}
STORES = {  # by experiment: the rows and how many seeds
    "whole": {"a": (MEANS, 5)},
    "partial": {"a": (dict(list(MEANS.items())[:3]), 3)},
    "several experiments": {"a": (MEANS, 5), "b": ({row: MEANS[row] for row in ("aren-1", "vqvae")}, 3)},
    "one seed": {"a": (MEANS, 1)},
}


def records(experiment: str, means: dict[str, float], seeds: int) -> pd.DataFrame:
    more = {"experiment": f"ablation_levels-{experiment}", "preset": "small", "schema_version": 2}
    return maes(means, 0.0002, seeds, 3).assign(**more)[[*COLUMNS, "row"]]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name, (means, seeds) in STORES[request.param].items():
        folder = tmp_path / "experiments" / f"ablation_levels-{name}"
        folder.mkdir(parents=True)
        (folder / "table.csv").write_text(to_csv(records(name, means, seeds)))
        plan = {"schema_version": 2, "rows": [], "ablation": LEVELS.model_dump()}
        write_json(folder / "plan.json", plan)
    return tmp_path


def shown(found: list[dict]) -> list[tuple]:
    return [
        (one["contrast"], one["verdict"], None if one["p_holm"] is None else round(one["p_holm"], 12)) for one in found
    ]


def test_every_face_shows_the_same_verdicts(call, store: Path) -> None:
    long = avq.load_results(store)
    tables = json.loads(call("table", str(store), "--format", "json").stdout)
    text = call("table", str(store), "--format", "markdown").stdout
    latex = call("table", str(store), "--format", "latex", "--metrics", "mae").stdout
    for table, part_of_text in zip(tables, text.split("### ")[1:], strict=True):
        name = table["experiment"]
        report = Report(long, ablation_of(store, name), experiment=name)
        found = report.judged
        assert repr(found) == repr(judged(long[long["experiment"] == name], LEVELS))
        assert shown(table["contrasts"]) == [
            (j.name, j.verdict, None if j.p != j.p else round(j.p_holm, 12)) for j in found
        ]
        data = report.verdict_table().styler.data
        words = [f"a is {j.verdict}" if j.winner else j.verdict for j in found]
        assert list(data["verdict"]) == words
        assert [part_of_text.count(f"| {word} |") >= words.count(word) for word in words] == [True] * len(words)
        answers = repr(report.answers())
        assert f"{len(LEVELS.contrasts)} comparisons were declared" in answers
        assert all(f" {j.name}: {j.verdict}. " in answers for j in found)
        part = latex.partition(f"% {name}\n")[2].partition(r"\end{tabular}")[0]
        bold = {line.split(" & ")[0] for line in part.splitlines() if "mathbf" in line}
        assert bold <= {j.winner for j in found}


def test_a_part_that_is_shown_is_judged_as_the_whole(call, store: Path) -> None:
    """As `table --rows`, and as `run --only` in a store that has more rows."""
    whole = json.loads(call("table", str(store), "--format", "json").stdout)[0]
    part = json.loads(call("table", str(store), "--rows", "aren-1,aren-1-rpa", "--format", "json").stdout)[0]
    rows = {"aren-1", "aren-1-rpa"} & {line["row"] for line in whole["rows"]}
    assert part["contrasts"] == [one for one in whole["contrasts"] if {one["a"], one["b"]} <= rows]
    assert len(part["contrasts"]) == 1


def test_what_is_declared_counts_also_where_its_rows_are_not_there() -> None:
    """The same two rows and one contrast: beside eight others that were declared, p is corrected for nine."""
    long = records("a", {"aren-1": 0.0466, "vqvae": 0.0469}, 5)
    alone = Ablation(**{**LEVELS.model_dump(), "contrasts": [c for c in LEVELS.contrasts if c.b == "vqvae"]})
    (one,), (of_nine,) = judged(long, alone), judged(long, LEVELS)
    assert (one.family, of_nine.family) == (1, 9)
    assert of_nine.p_holm == pytest.approx(min(1, 9 * one.p))
