"""What an ablation found, in words that follow from its verdicts alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric
from avq.reporting.formatting import MINUS, p_value, signed, size_of
from avq.reporting.statistics import Judgement, Verdict
from avq.reporting.values import FLOOR, rows_of, seed_values

SIGNS: dict[Verdict, str] = {
    "better": "▲", "worse": "▼", "equivalent": "≈", "undecided": "?", "undecided (one seed)": "?",
    "not comparable": "-", "n/a": "-",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One declared comparison, answered: its name, a sign and the verdict, and a sentence that says how sure it is."""

    name: str
    verdict: Verdict
    sentence: str

    @property
    def sign(self) -> str:
        """One character for the verdict."""
        return SIGNS[self.verdict]


def answers(judged: Sequence[Judgement]) -> list[Answer]:
    """An answer a contrast, in the order declared."""
    tested = sum(not math.isnan(one.p) for one in judged)
    return [Answer(one.name, one.verdict, _sentence(one, tested)) for one in judged]


def summary(judged: Sequence[Judgement]) -> str:
    """How many comparisons were declared, and how many of them the data decide."""
    if not judged:
        return "No comparison was declared, so none is judged: the tables below describe, they do not decide."
    count = {verdict: sum(one.verdict == verdict for one in judged) for verdict in SIGNS}
    undecided = count["undecided"] + count["undecided (one seed)"]
    untested = count["n/a"] + count["not comparable"]
    parts = [
        f"{count['better']} found better" if count["better"] else "",
        f"{count['worse']} found worse" if count["worse"] else "",
        f"{count['equivalent']} as good as each other" if count["equivalent"] else "",
        f"{undecided} undecided" if undecided else "",
        f"{untested} not judged" if untested else "",
    ]
    total = len(judged)
    noun = "comparison was" if total == 1 else "comparisons were"
    return f"{total} {noun} declared before training: {', '.join(part for part in parts if part)}."


def best_rows(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> list[str]:
    """A line a dataset and nominal rate: which trained row has the best mean, beside the floor. A description."""
    frame, entry = rows_of(long, split), METRICS.find(metric)
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        values = seed_values(part, metric)
        values = values[values["level"].isna()]
        rates = seed_values(part, "bits-per-pixel").groupby("row")["value"].mean().round(6)
        means = values.groupby("row", sort=False)["value"].mean()
        floors = set(values.loc[values["variant"] == FLOOR, "row"])
        trained = means[[row for row in means.index if row not in floors]]
        for rate, rows in trained.groupby(rates.reindex(trained.index), dropna=False):
            if len(rows) < 2:
                continue
            best = rows.idxmin() if entry.better == "lower" else rows.idxmax()
            at = "" if pd.isna(rate) else f" at {rate:.3f} bits per pixel"
            line = f"On {dataset}{at}, {best} has the best mean {entry.label}, {format_value(metric, rows[best])}"
            beside = [f"; the floor, {floor}, has {format_value(metric, means[floor])}" for floor in floors
                      if rates.get(floor) == rate]  # fmt: skip
            lines.append(line + "".join(beside) + ".")
    return lines


def _sentence(one: Judgement, tested: int) -> str:
    metric = METRICS[one.metric]
    if one.verdict in ("n/a", "not comparable"):
        return f"Not judged: {one.reason}."
    if one.verdict == "undecided (one seed)":
        return (
            f"{one.a} against {one.b}: {_size(one, metric)}, but with one seed a side chance cannot be told "
            "from an effect."
        )
    evidence = _evidence(one, metric, tested)
    if one.verdict == "equivalent":
        return (
            f"{one.a} is as good as {one.b}: they differ by less than {one.margin:g} in {metric.label}, which the "
            f"ablation calls too small to matter ({_size(one, metric)}; {evidence})."
        )
    if one.verdict == "undecided":
        alone = (
            " The interval by itself leaves out zero, but among so many comparisons one such turns up by chance too "
            "often."
            if tested > 1 and one.p < one.alpha
            else ""
        )
        return (
            f"{one.a} against {one.b}: {_size(one, metric)} ({evidence}). These seeds do not decide whether that is "
            f"chance, which does not mean that there is no difference.{alone}"
        )
    return f"{one.a} is {one.verdict} than {one.b}: {_size(one, metric)} ({evidence})."


def _size(one: Judgement, metric: Metric) -> str:
    """`MAE 0.0012 (2.5 %) lower`."""
    relative = f" ({abs(one.difference / one.mean_b):.1%})".replace("%", " %") if one.mean_b else ""
    direction = "lower" if one.difference < 0 else "higher"
    size = size_of(one.difference, metric)
    return f"{metric.label} {size}{relative} {direction}" if one.difference else f"{metric.label} equal"


def _evidence(one: Judgement, metric: Metric, tested: int) -> str:
    bounds = [signed(bound, metric, MINUS) for bound in (one.low, one.high)]
    sure = f"{100 * (1 - one.alpha):g} % interval {bounds[0]} to {bounds[1]}"
    equivalent = one.verdict == "equivalent"
    p = p_value(one.p_equivalence if equivalent else one.p_holm)
    shown = ("equivalence " if equivalent else "") + (f"p < {p[1:]}" if p.startswith("<") else f"p = {p}")
    over = f", corrected for {tested} comparisons" if tested > 1 else ""
    return f"{sure}; {shown}{over}"
