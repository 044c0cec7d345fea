"""Every number in README.md and docs/ that comes from a table is written by this program.

    python scripts/figures.py            # after a table or docs/simulated.json was made anew

A number is followed by a comment that says where it comes from, a Python expression over the functions below and a
format: `0.115<!-- = mean("lpips-squeeze", "aren-1") ~ .3f -->`. Whole tables stand between `<!-- rows: NAME -->`, a
function below, and `<!-- end of rows -->`. `tests/test_figures.py` fails where a page says something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from avq import load_results
from avq.metrics.format import format_value
from avq.reporting.report import Report
from avq.reporting.statistics import Judgement, pool_spreads
from avq.reporting.tables import wide_table
from avq.reporting.values import rows_of, whole_values
from avq.store.declared import ablation_of

ROOT = Path(__file__).resolve().parents[1]
SMALL = "ablation_levels-small-cifar10"
NUMBER = re.compile(r"(?P<shown>[+−-]?[\d.,]*\d)<!-- = (?P<source>.+?) ~ (?P<format>\S+) -->")
ROWS = re.compile(r"(?<=<!-- rows: )(?P<name>\w+)(?P<mark>[^>]*-->\n)(?P<shown>.*?)(?=<!-- end of rows -->)", re.DOTALL)


def pages() -> list[Path]:
    """The pages that hold such numbers."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def written(text: str) -> str:
    """A page's text with every such number and table as it is now."""
    text = NUMBER.sub(lambda m: _number(m) + m[0][len(m["shown"]) :], text)
    return ROWS.sub(lambda m: m["name"] + m["mark"] + "\n".join(_NAMES[m["name"]]()) + "\n", text)


def _number(match: re.Match[str]) -> str:
    return format(eval(match["source"], dict(_NAMES)), match["format"])  # noqa: S307  (our own pages)


@cache
def table(name: str = SMALL) -> pd.DataFrame:
    """A committed table, long form."""
    return load_results(ROOT / "results" / "cpu" / f"{name}.csv")


def values(metric: str, row: str, level: int | None = None, of: str = SMALL, column: str = "value") -> pd.Series:
    """A row's values, one a seed, on test images or of no split."""
    long = table(of)
    there = (
        (long["metric"] == metric) & (long["row"] == row) & long["split"].isin(("test", "")) & (long["status"] == "ok")
    )
    found = long.loc[there & (long["level"].isna() if level is None else long["level"] == level), column]
    if found.empty:
        raise ValueError(f"{of} has no {metric} of {row}")
    return found


def mean(metric: str, row: str, level: int | None = None, of: str = SMALL, column: str = "value") -> float:
    """Mean over seeds."""
    return float(values(metric, row, level, of, column).mean())


def sd(metric: str, row: str) -> float:
    """Standard deviation over seeds."""
    return float(values(metric, row).std())


def point(metric: str, of: str) -> float:
    """What a training step of the attention layer took: `of` is side, similarity, implementation."""
    long = table("scale-cpu")
    there = (long["metric"] == f"attention-{metric}") & (long["row"] == f"attention[{of},training-step]")
    return float(long.loc[there, "value"].item())


def exponents(implementation: str) -> pd.Series:
    """The fitted exponents of the attention layer's memory."""
    long = table("scale-cpu")
    there = (long["metric"] == "attention-memory-exponent") & (long["implementation"] == implementation)
    return long.loc[there, "value"]


def typical_spread(metric: str = "mae") -> float:
    """The spread between seeds, pooled over the rows but those of outlier variance."""
    found = whole_values(rows_of(table(), "test"), metric)
    pool = pool_spreads(found)
    rows = [pool.own[row] for row in pool.own if row not in pool.outliers and row != "patch-kmeans"]
    return float((sum(one.variance * one.df for one in rows) / sum(one.df for one in rows)) ** 0.5)


@cache
def judged() -> dict[str, Judgement]:
    """The committed CIFAR-10 table's contrasts, by name."""
    return {one.name: one for one in Report(table(), ablation_of("", SMALL)).judged}


def count(verdict: str) -> int:
    """How many contrasts have this verdict."""
    return sum(one.verdict == verdict for one in judged().values())


def rows_of_levels() -> Iterator[str]:
    """README's first table."""
    wide = wide_table(table()).set_index("row")
    notes = {
        "vqvae": " (width 48, published 256)",
        "vqvae2": " (width 48, published 128)",
        "patch-kmeans": " (the baseline)",
    }
    yield "| row | bits/px | MAE ↓ | PSNR dB ↑ | perplexity ↑, level 1 / 2 / 3 | gain of attention | trainable values |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row, line in wide.iterrows():
        levels = {
            metric: " / ".join(format_value(metric, line[f"{metric}@{level}"]) for level in (1, 2, 3)
                               if line[f"{metric}@{level}"] == line[f"{metric}@{level}"]) or "-"
            for metric in ("perplexity", "attention-gain")
        }  # fmt: skip
        cells = [f"{row}{notes.get(str(row), '')}", *(
            format_value(name, line[name], line[f"{name}:sd"] if name == "mae" else None)
            for name in ("bits-per-pixel", "mae", "psnr")
        ), *levels.values(), format_value("params-trainable", line["params-trainable"])]  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


@cache
def _simulated() -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "simulated.json").read_text("utf-8"))


def sim(part: str, what: str, **where: object) -> float:
    """Hundred times a share of docs/simulated.json: of the one line of `part` that `where` describes."""
    where = {key.replace("_", " "): value for key, value in where.items()}
    lines = [line for line in _simulated()[part] if all(line[key] == value for key, value in where.items())]
    if len(lines) != 1:
        raise ValueError(f"{len(lines)} lines of {part} are {where}")
    return 100 * float(lines[0][what])


def check(what: str, drawn: str = "even", seeds: int = 3, table: str = "small", columns: str = "apart") -> float:
    """Per cent of the simulated checks."""
    before = 5 if table == "smoke" else seeds
    where = {"seeds are drawn": drawn, "seeds": f"{before}, {seeds}", "table": table, "columns": columns}
    return sim("check", what, **where)


def curve(level: str, value: float, drawn: str, what: str = "unchanged tables that fail") -> float:
    """Per cent of the simulated checks with another level."""
    return sim("curves", what, level=level, value=value, **{"seeds are drawn": drawn})


def contrast(what: str, drawn: str, seeds: int, test: str = "in use") -> float:
    """Per cent of the simulated contrasts: `false` or `found`."""
    return sim("contrasts", f"{test}: {what}", seeds=seeds, **{"seeds are drawn": drawn})


def most(what: str, seeds: int, test: str = "in use") -> float:
    """The largest over how seeds are drawn."""
    drawn = {line["seeds are drawn"] for line in _simulated()["contrasts"]}
    return max(contrast(what, one, seeds, test) for one in drawn)


def cells(table: str = "small") -> int:
    """Trained cells of a simulated table."""
    return int(_simulated()["cells"][table])


def spread(table: str = "small") -> float:
    """MAE's pooled spread between seeds in per cent of MAE."""
    return 100 * float(_simulated()["spread"][table])


_NAMES = {name: value for name, value in globals().items() if not name.startswith("_")}


def main(write: Callable[[str], None] = print) -> None:
    for page in pages():
        text = page.read_text("utf-8")
        if (new := written(text)) != text:
            page.write_text(new, "utf-8")
            write(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
