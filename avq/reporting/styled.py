"""Tables for people who read on a screen: pandas Stylers, with what they rest on written under them."""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS, Metric
from avq.reporting.footer import footer
from avq.reporting.formatting import MINUS, p_value, signed
from avq.reporting.tables import wide_table
from avq.reporting.values import FLOOR, rows_of

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
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
    """Quality and codebooks: mean ± standard deviation over seeds; in bold the best mean at its nominal rate.

    Raises:
        NotComparable: a column would hold two protocols.
    """
    part = long[~long["metric"].map(_kind).isin(("time", "memory"))]
    wide = wide_table(part, split)
    names = [n for n in wide if _is_value(n) and not _is_cost(n)]
    failed = [f"{line['row']}: {line['reason']}" for line in wide.to_dict("records") if line.get("reason")]
    counts = ["row", "seeds", *(["failed"] if "failed" in wide else [])]
    lead = ["dataset"] if "dataset" in wide else []
    notes = ["Bold: the best mean among the rows of one nominal rate. Whether it differs from its neighbours, "
             "the declared comparisons say.", *footer(part, split, alpha).splitlines(), *failed]  # fmt: skip
    return Table(_styled(wide, [*lead, *counts], names, "quality", _floors(long)), notes, protocols(part, names, split))


def cost_table(long: pd.DataFrame, split: str = "test") -> Table | None:
    """What each row costs; in bold the least. None where nothing was measured. Errors as `quality_table`."""
    part = long[long["metric"].isin([name for name, metric in METRICS.items() if metric.is_cost])]
    wide = wide_table(part, split) if len(part) else pd.DataFrame()
    names = [n for n in wide if _is_value(n) and _is_cost(n)]
    if not names:
        return None
    wide = wide[wide[names].notna().any(axis=1)].reset_index(drop=True)
    lead = ["dataset"] if "dataset" in wide else []
    notes = [
        "Bold: the best of the column, the floor aside. Times and memory come from a quiet pass of their own, but for "
        "training s, the wall-clock time of runs that shared the machine.",
        *footer(part, split).splitlines(),
    ]
    return Table(_styled(wide, [*lead, "row"], names, "cost", _floors(long)), notes, protocols(part, names, split))


def verdict_table(judged: pd.DataFrame) -> Table | None:
    """The declared contrasts (`contrast_table`), undecided ones in grey. None where none was declared."""
    if judged.empty:
        return None
    lines = [_contrast(line) for line in judged.to_dict("records")]
    shown = pd.DataFrame(lines)
    empty = [name for name, nothing in (("why", ""), ("p (equivalence)", "-")) if (shown[name] == nothing).all()]
    shown = shown.drop(columns=empty)
    grey = judged["verdict"].isin(("better", "worse", "equivalent")).map({True: "", False: QUIET})
    css = pd.DataFrame({name: grey.to_numpy() for name in shown}, index=shown.index)
    css.loc[judged["verdict"].isin(("better", "worse")).to_numpy(), "verdict"] = BEST
    alpha = float(judged["alpha"].iloc[0])
    margins = judged.dropna(subset=["margin"]).drop_duplicates("metric")
    within = ", ".join(f"{line['margin']:g} in {METRICS[line['metric']].label}" for line in margins.to_dict("records"))
    notes = [
        f"Grey: undecided or not judged. Better and worse: p below {alpha:g} after Holm's correction over the "
        f"comparisons that can be tested; the intervals are not corrected. n is the number of seeds.",
        *(
            [f"Equivalent: shown, by a test of its own, to differ by less than the ablation file's margin, {within}."]
            if within
            else []
        ),
    ]
    return Table(_plain(shown, css, "contrasts"), notes)


def listing(table: pd.DataFrame, name: str, notes: Sequence[str] = ()) -> Table:
    """Any small table of words."""
    return Table(_plain(table, pd.DataFrame("", table.index, table.columns), name), notes)


def protocols(long: pd.DataFrame, names: Sequence[str], split: str) -> list[str]:
    """How the numbers of each column were obtained: `MAE: mae.1:…;n=10000`."""
    frame = rows_of(long, split)
    frame = frame[frame["status"] == "ok"]
    lines = []
    for metric in dict.fromkeys(name.split("@")[0] for name in names):
        found = [text for text in frame.loc[frame["metric"] == metric, "protocol"].unique() if text]
        lines += [f"{METRICS[metric].label}: {' and '.join(found)}"] if found else []
    return lines


def _contrast(line: dict[Any, Any]) -> dict[str, str]:
    metric = METRICS[line["metric"]]
    bounds = [signed(line[name], metric, MINUS) for name in ("low", "high")]
    return {
        "comparison": line["contrast"],
        "a": line["a"],
        "b": line["b"],
        "metric": metric.label,
        "n": f"{line['n_a']} / {line['n_b']}" if line["n_a"] else "-",
        "a − b": signed(line["difference"], metric, MINUS),
        f"{100 * (1 - line['alpha']):g} % interval": "-" if "-" in bounds else " to ".join(bounds),
        "p (Holm)": p_value(line["p_holm"]),
        "p (equivalence)": p_value(line["p_equivalence"]),
        "verdict": f"a is {line['verdict']}" if line["verdict"] in ("better", "worse") else line["verdict"],
        "why": line["reason"],
    }


def _styled(wide: pd.DataFrame, counts: Sequence[str], names: Sequence[str], name: str, floors: set[str]) -> Styler:
    """The chosen columns as text under their labels; levels side by side, bottom first; the best in bold."""
    shown: dict[str, list[str]] = {column: [str(value) for value in wide[column]] for column in counts}
    css: dict[str, list[str]] = {column: [""] * len(wide) for column in counts}
    for column in names:
        metric = METRICS[column.split("@")[0]]
        label = metric.label + ARROWS[metric.better]
        spread = wide.get(f"{column}:sd") if metric.better else None
        cells = [
            format_value(metric.name, value, None if spread is None else float(spread.iloc[i]))
            for i, value in enumerate(wide[column].astype("float64"))
        ]
        if label in shown:
            shown[label] = [a if b == "-" else f"{a} / {b}" for a, b in zip(shown[label], cells, strict=True)]
        else:
            shown[label], css[label] = cells, _best(wide, column, metric, floors)
    return _plain(pd.DataFrame(shown), pd.DataFrame(css), name)


def _best(wide: pd.DataFrame, column: str, metric: Metric, floors: set[str]) -> list[str]:
    """Bold where the mean is the best of two or more rows at the same rate on the same dataset."""
    if metric.better is None or "@" in column:
        return [""] * len(wide)
    keys = [wide[name].round(6) if name == "bits-per-pixel" else wide[name] for name in ("dataset", "bits-per-pixel")
            if name in wide and (name == "dataset" or not _is_cost(column))]  # fmt: skip
    # What the floor costs is no merit.
    values = wide[column].where(wide["row"].map(lambda row: row not in floors)) if _is_cost(column) else wide[column]
    groups = values.groupby(keys, dropna=False) if keys else values.groupby([0] * len(wide))
    best = groups.transform("min" if metric.better == "lower" else "max")
    alone = groups.transform("count") < 2
    return [BEST if hit else "" for hit in (values == best) & ~alone]


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


def _floors(long: pd.DataFrame) -> set[str]:
    return set(long.loc[long["variant"] == FLOOR, "row"])


def _kind(metric: str) -> str:
    return METRICS[metric].kind if metric in METRICS else ""


def _is_value(name: object) -> bool:
    return str(name).split("@")[0] in METRICS and not str(name).endswith(":sd")


def _is_cost(name: object) -> bool:
    return METRICS[str(name).split("@")[0]].is_cost
