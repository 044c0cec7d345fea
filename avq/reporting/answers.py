"""What an ablation found, in words that follow from its verdicts alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.reporting.formatting import MINUS, p_value, signed, size_of
from avq.reporting.statistics import Judgement, Verdict
from avq.reporting.values import BASELINE, mean_by_row, rows_of, seed_values, whole_values

SIGNS: dict[Verdict, str] = {
    "better": "▲", "worse": "▼", "equivalent": "≈", "undecided": "?", "undecided (one seed)": "?",
    "not comparable": "-", "n/a": "-",
}  # fmt: skip
_SUMMARY: dict[str, tuple[Verdict, ...]] = {
    "found better": ("better",), "found worse": ("worse",), "as good as each other": ("equivalent",),
    "undecided": ("undecided", "undecided (one seed)"), "not judged": ("n/a", "not comparable"),
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One declared comparison, answered: its name, the verdict, and a sentence that says how sure it is."""

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
    counts = {words: sum(one.verdict in verdicts for one in judged) for words, verdicts in _SUMMARY.items()}
    noun = "comparison was" if len(judged) == 1 else "comparisons were"
    parts = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return f"{len(judged)} {noun} declared before training: {parts}."


def best_rows(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> list[str]:
    """A line a dataset and nominal rate: which trained row has the best mean, beside the k-means baseline.

    A description, not a verdict.
    """
    frame, entry = rows_of(long, split), METRICS.find(metric)
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        values = whole_values(part, metric)
        rates = mean_by_row(seed_values(part, "bits-per-pixel")).round(6)
        means = mean_by_row(values)
        baselines = set(values.loc[values["variant"] == BASELINE, "row"])
        trained = means[~means.index.isin(baselines)]
        for rate, rows in trained.groupby(rates.reindex(trained.index), dropna=False):
            if len(rows) < 2:
                continue
            best = rows.idxmin() if entry.better == "lower" else rows.idxmax()
            at = "" if pd.isna(rate) else f" at {rate:.3f} bits per pixel"
            line = f"On {dataset}{at}, {best} has the best mean {entry.label}, {format_value(metric, rows[best])}"
            for baseline in baselines:
                if rates.get(baseline) == rate:
                    line += f"; the k-means baseline, {baseline}, has {format_value(metric, means[baseline])}"
            lines.append(line + ".")
    return lines


def _sentence(one: Judgement, tested: int) -> str:
    """The verdict in words; `tested` contrasts were corrected for."""
    if one.verdict in ("n/a", "not comparable"):
        return f"Not judged: {one.reason}."
    metric = METRICS[one.metric]
    relative = f" ({abs(one.difference / one.mean_b):.1%})".replace("%", " %") if one.mean_b else ""
    direction = "lower" if one.difference < 0 else "higher"
    size = f"{metric.label} {size_of(one.difference, metric)}{relative} {direction}"  # MAE 0.0012 (2.5 %) lower
    size = size if one.difference else f"{metric.label} equal"
    if one.verdict == "undecided (one seed)":
        return f"{one.a} against {one.b}: {size}, but one seed a side cannot distinguish an effect from chance."
    low, high = (signed(bound, metric, MINUS) for bound in (one.low, one.high))
    equivalent = one.verdict == "equivalent"
    p = p_value(one.p_equivalence if equivalent else one.p_holm)
    shown = ("equivalence " if equivalent else "") + (f"p < {p[1:]}" if p.startswith("<") else f"p = {p}")
    over = f", corrected for {tested} comparisons" if tested > 1 else ""
    evidence = f"{100 * (1 - one.alpha):g} % interval {low} to {high}; {shown}{over}"
    if equivalent:
        return (
            f"{one.a} is as good as {one.b}: they differ by less than {one.margin:g} in {metric.label}, which the "
            f"ablation calls too small to matter ({size}; {evidence})."
        )
    if one.verdict != "undecided":
        return f"{one.a} is {one.verdict} than {one.b}: {size} ({evidence})."
    sentence = (
        f"{one.a} against {one.b}: {size} ({evidence}). These seeds do not decide whether that is "
        "chance, which does not mean that there is no difference."
    )
    if tested > 1 and one.p < one.alpha:
        sentence += (
            " The interval by itself leaves out zero, but among so many comparisons that happens by chance too often."
        )
    return sentence
