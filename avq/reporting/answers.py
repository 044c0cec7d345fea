"""What an ablation found, in words that follow from its verdicts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.reporting.formatting import MINUS, p_value, signed, size_of
from avq.reporting.statistics import Judgement, Verdict
from avq.reporting.tables import baselines_of, best, wide_table

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
    return [Answer(one.name, one.verdict, _sentence(one)) for one in judged]


def summary(judged: Sequence[Judgement]) -> str:
    """How many comparisons were declared, how many are of rows that are here, and how many of these are decided."""
    if not judged:
        return "No comparison was declared between rows of this table, so none is judged: the tables below describe."
    counts = {words: sum(one.verdict in verdicts for one in judged) for words, verdicts in _SUMMARY.items()}
    family = judged[0].family
    noun = "comparison was" if family == 1 else "comparisons were"
    here = f", {len(judged)} of them between rows of this table" if family > len(judged) else ""
    parts = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return f"{family} {noun} declared before training{here}: {parts}."


def best_rows(long: pd.DataFrame, metric: str = "mae", split: str = "test") -> list[str]:
    """A line a dataset and nominal rate: which row has the best mean but for the k-means baseline (`tables.best`)."""
    wide = wide_table(long[long["metric"].isin((metric, "bits-per-pixel"))], split)
    if metric not in wide:
        return []
    wide = wide.assign(dataset=wide.get("dataset", long["dataset"].iloc[0]), rate=wide.get("bits-per-pixel"))
    baselines = baselines_of(long)
    lines = []
    for line in wide[best(wide, metric, baselines)].to_dict("records"):
        at = "" if pd.isna(line["rate"]) else f" at {line['rate']:.3f} bits per pixel"
        text = f"On {line['dataset']}{at}, {line['row']} has the best mean {METRICS[metric].label} but for the baseline"
        text += f", {format_value(metric, line[metric])}"
        beside = wide[wide["row"].isin(baselines) & (wide["dataset"] == line["dataset"])]
        for row, value in beside.loc[(beside["rate"] - line["rate"]).abs() < 1e-6, ["row", metric]].to_numpy():
            text += f"; the k-means baseline, {row}, has {format_value(metric, value)}"
        lines.append(text + ".")
    return lines


def _sentence(one: Judgement) -> str:
    """The verdict in words."""
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
    over = f", corrected for {one.family} comparisons" if one.family > 1 else ""
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
    if one.reason:
        sentence += f" {one.reason[:1].upper()}{one.reason[1:]}."
    elif one.p < one.alpha:
        sentence += (
            " The interval by itself leaves out zero, but among so many comparisons, or with so few seeds, that "
            "happens by chance too often."
        )
    return sentence
