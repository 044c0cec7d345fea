"""Tables for people who read on a screen: pandas Stylers, with what they rest on written under them."""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from avq.metrics.registry import METRICS
from avq.reporting.footer import footer
from avq.reporting.formatting import MINUS, add_column, column_of, contrasts
from avq.reporting.tables import baselines_of, best, wide_table
from avq.reporting.values import rows_of

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

BEST, QUIET = "font-weight: bold", "color: #79838e"


class Table:
    """A styled table and its notes, as a notebook shows it.

    Attributes:
        styler: the table itself.
        notes: lines below it, one fact a line; `protocols` are folded away under them.
    """

    def __init__(self, styler: Styler, notes: Sequence[str] = (), protocols: Sequence[str] = ()) -> None:
        self.styler, self.notes, self.protocols = styler, list(notes), list(protocols)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        ids = "".join(f"<li>{html.escape(line)}</li>" for line in self.protocols)
        folded = f"<details><summary>Protocols of the columns</summary><ul>{ids}</ul></details>" if ids else ""
        return f'<div class="scroll" tabindex="0">{self.styler.to_html()}</div><div class="notes">{notes}{folded}</div>'

    def __repr__(self) -> str:
        return "\n".join([self.styler.data.to_string(index=False), *self.notes])


def quality_table(long: pd.DataFrame, split: str = "test", alpha: float = 0.05) -> Table:
    """Quality and codebooks: mean ± standard deviation over seeds; in bold the best at its nominal rate.

    Raises:
        NotComparable: a column would hold two protocols.
    """
    timed = [name for name, metric in METRICS.items() if metric.kind in ("time", "memory")]
    part = long[~long["metric"].isin(timed)]
    wide = wide_table(part, split)
    failed = [f"{line['row']}: {line['reason']}" for line in wide.to_dict("records") if line.get("reason")]
    counts = [name for name in ("dataset", "row", "seeds", "failed") if name in wide]
    bold = (
        "Bold: the best mean among the rows of one nominal rate, but for the k-means baseline. Whether it differs from "
        "its neighbours, the declared comparisons say."
    )
    notes = [bold, *footer(part, split, alpha).splitlines(), *failed]
    return _metrics_table(long, wide, counts, _columns(wide, costs=False), "quality", notes, split)


def cost_table(long: pd.DataFrame, split: str = "test") -> Table | None:
    """What each row costs; in bold the least. None where nothing was measured. Errors as `quality_table`."""
    part = long[long["metric"].isin([name for name, metric in METRICS.items() if metric.is_cost])]
    wide = wide_table(part, split) if len(part) else pd.DataFrame()
    names = _columns(wide, costs=True)
    if not names:
        return None
    wide = wide[wide[names].notna().any(axis=1)].reset_index(drop=True)
    bold = (
        "Bold: the best of the column, but for the k-means baseline. Times and memory come from an isolated benchmark, "
        "but for training s, the wall-clock time of runs that shared the machine."
    )
    counts = [name for name in ("dataset", "row") if name in wide]
    return _metrics_table(long, wide, counts, names, "cost", [bold, *footer(part, split).splitlines()], split)


def verdict_table(judged: pd.DataFrame) -> Table | None:
    """The declared contrasts (`judged_table`), undecided ones in grey. None where none was declared."""
    if judged.empty:
        return None
    shown = contrasts(judged, MINUS).rename(columns={"contrast": "comparison"})
    shown.columns = shown.columns.str.replace("\u00a0", " ")
    if (shown["p (equivalence)"] == "-").all():
        shown = shown.drop(columns="p (equivalence)")
    grey = judged["verdict"].isin(("better", "worse", "equivalent")).map({True: "", False: QUIET})
    css = pd.DataFrame({name: grey.to_numpy() for name in shown}, index=shown.index)
    css.loc[judged["verdict"].isin(("better", "worse")).to_numpy(), "verdict"] = BEST
    alpha = float(judged["alpha"].iloc[0])
    margins = judged.dropna(subset=["margin"]).drop_duplicates("metric")
    within = ", ".join(f"{line['margin']:g} in {METRICS[line['metric']].label}" for line in margins.to_dict("records"))
    notes = [
        f"Grey: undecided or not judged. Better and worse: p below {alpha:g} after Holm's correction over all "
        f"{judged['family'].iloc[0]} declared comparisons; the intervals are not corrected. n is the number of seeds."
    ]
    if within:
        notes.append(
            f"Equivalent: shown, by a test of its own, to differ by less than the ablation file's margin, {within}."
        )
    return Table(_plain(shown, css, "contrasts"), notes)


def listing(table: pd.DataFrame, name: str, notes: Sequence[str] = ()) -> Table:
    """Any small table of words."""
    return Table(_plain(table, pd.DataFrame("", table.index, table.columns), name), notes)


def _metrics_table(
    long: pd.DataFrame,
    wide: pd.DataFrame,
    counts: Sequence[str],
    names: Sequence[str],
    title: str,
    notes: Sequence[str],
    split: str,
) -> Table:
    """The chosen columns as text under their labels, the best in bold, and how the numbers were obtained."""
    baselines = baselines_of(long)
    frame = rows_of(long, split)
    frame = frame[frame["status"] == "ok"]
    shown: dict[str, list[str]] = {name: [str(value) for value in wide[name]] for name in counts}
    css: dict[str, list[str]] = {name: [""] * len(wide) for name in counts}
    protocols: dict[str, None] = {}
    for name in names:
        metric, _ = column_of(name)
        assert metric is not None
        label = add_column(shown, wide, name, metric)
        css.setdefault(label, [BEST if hit else "" for hit in best(wide, name, baselines)])
        found = [text for text in frame.loc[frame["metric"] == metric.name, "protocol"].unique() if text]
        protocols |= {f"{metric.label}: {' and '.join(found)}": None} if found else {}
    texts, styles = (pd.DataFrame(columns) for columns in (shown, css))
    for one in (texts, styles):
        one.columns = one.columns.str.replace("\u00a0", " ")
    return Table(_plain(texts, styles, title), notes, list(protocols))


def _plain(shown: pd.DataFrame, css: pd.DataFrame, name: str) -> Styler:
    """A table of texts; numbers stand right, and name and content make its ids the same in every run."""
    numbers = [column for column in shown if all(re.match(r"[-−+<]?[\d.]|-$", text) for text in shown[column])]
    ids = f"{name}-{zlib.crc32(shown.to_csv().encode()):08x}"
    styler = shown.style.apply(lambda _: css, axis=None).hide(axis="index").set_uuid(ids)
    escape: Callable[[Any], str] = lambda value: html.escape(str(value))  # noqa: E731
    styler = styler.format(escape).set_table_attributes(f'class="sortable" aria-label="{html.escape(name)}"')
    labels = [column for column in shown if max((text.count(" ") for text in shown[column]), default=0) < 3]
    labels = [column for column in labels if column != "comparison"]
    styler = styler.set_properties(subset=labels, **{"white-space": "nowrap"})
    styler = styler.set_properties(subset=numbers, **{"text-align": "right", "white-space": "nowrap"})
    return styler.set_table_styles([{"selector": "th", "props": "text-align: left"}])


def _columns(wide: pd.DataFrame, costs: bool) -> list[str]:
    """The columns of metrics that are costs, or that are none."""
    found = {str(name): column_of(name)[0] for name in wide}
    return [name for name, metric in found.items() if metric is not None and metric.is_cost == costs]
