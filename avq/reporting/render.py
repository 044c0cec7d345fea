"""Tables as text: for a terminal, for GitHub, for a program."""

from __future__ import annotations

import io
import json
import math
import re
from typing import Literal

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from avq.reporting.formatting import add_column, column_of, contrasts

Format = Literal["table", "csv", "json", "markdown"]
WRAPPED = ("contrast", "why")
ROOM_FOR_WHY = 24  # characters a line: fewer make a column of single words
NUMBER = re.compile(r"[+-]?[\d.]+( [±/a-zA-Z].*)?|<[\d.]+|-|\d+/\d+")


def render(table: pd.DataFrame, style: Format = "table", width: int = 110) -> str:
    """A wide table, a contrast table, or any other, as text that ends without a newline.

    `csv` and `json` hold the numbers as they are. `table` and `markdown` show them: mean ± standard
    deviation over seeds, levels side by side from the bottom up (`198 / 60`), one table a dataset, and below
    them why runs failed. Where one table would be wider than `width`, quality and cost stand apart, and a
    `table` goes on below itself as often as it must, each part with its rows' names.
    """
    if style == "csv":
        return str(table.to_csv(index=False, lineterminator="\n")).rstrip("\n")
    if style == "json":
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        return json.dumps(records, indent=2, ensure_ascii=False, default=float)
    if "verdict" in table:
        shown = contrasts(table).drop(columns=["n", "p (equivalence)"], errors="ignore")
        return _contrasts_text(shown, style, width)
    if "dataset" not in table or "row" not in table:
        return _one_dataset(table, style, width)
    groups = table.groupby("dataset", sort=False)
    return "\n\n".join(
        f"{name}\n\n{_one_dataset(group.drop(columns='dataset').dropna(axis=1, how='all'), style, width)}"
        for name, group in groups
    )


def _one_dataset(table: pd.DataFrame, style: Format, width: int) -> str:
    shown, costs = _shown(table)
    parts = [shown]
    if costs and _width(shown) > width:
        parts = [shown.drop(columns=costs), shown[["row", *costs]]]
    if style == "table" and "row" in shown:
        parts = [piece for part in parts for piece in _within(part, width)]
    return "\n\n".join([*(text_table(part, style, width) for part in parts), *_failures(table)])


def _within(shown: pd.DataFrame, width: int) -> list[pd.DataFrame]:
    """The columns in as few pieces as fit into that many characters, each with the row's name in front."""
    pieces, piece = [], ["row"]
    for name in shown.columns.drop("row"):
        if len(piece) > 1 and _width(shown[[*piece, name]]) - 2 > width:  # nothing follows the last column
            pieces.append(piece)
            piece = ["row"]
        piece.append(name)
    return [shown[names] for names in (*pieces, piece)]


def _failures(table: pd.DataFrame) -> list[str]:
    if "reason" not in table or "row" not in table:
        return []
    return [
        f"{line['row']}: {line.get('failed', 0)} of {line.get('failed', 0) + line['seeds']} runs failed: "
        f"{line['reason']}"
        for line in table.to_dict("records")
        if line["reason"]
    ]


def _shown(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The cells as text under their labels, and the labels of the cost columns."""
    shown: dict[str, list[str]] = {}
    costs: dict[str, None] = {}
    for name in map(str, table.columns):
        metric, _ = column_of(name)
        if metric:
            label = add_column(shown, table, name, metric)
            if metric.is_cost:
                costs[label] = None
        elif name == "seeds" and "failed" in table:
            pairs = zip(table["seeds"], table["failed"], strict=True)
            shown[name] = [f"{ok}/{ok + lost}" if lost else str(ok) for ok, lost in pairs]
        elif name not in ("failed", "reason") and not name.endswith(":sd"):
            shown[name] = [_plain(value) for value in table[name]]
    return pd.DataFrame(shown), list(costs)


def _contrasts_text(shown: pd.DataFrame, style: Format, width: int) -> str:
    """The contrasts; where `width` leaves their reasons no room, these stand below the table."""
    if style != "table" or "why" not in shown or _width(shown.drop(columns="why")) + ROOM_FOR_WHY <= width:
        return text_table(shown, style, width)
    reasons = [f"{name}: {why}" for name, why in zip(shown["contrast"], shown["why"], strict=True) if why]
    return "\n".join([text_table(shown.drop(columns="why"), style, width), "", *reasons])


def _plain(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _is_text(column: pd.Series) -> bool:
    return not all(NUMBER.fullmatch(cell) for cell in column)


def _width(shown: pd.DataFrame) -> int:
    """Characters that a table needs when labels are broken at spaces, and of the cells only `WRAPPED` ones."""
    longest = 0
    for name in shown:
        pieces = str(name).split(" ")
        for cell in shown[name]:
            pieces += cell.split(" ") if name in WRAPPED else [cell]
        longest += 2 + max(map(len, pieces))
    return longest


def text_table(shown: pd.DataFrame, style: Format, width: int) -> str:
    """A frame whose cells are text already, as `table` or `markdown`."""
    if style == "markdown":
        return _markdown(shown)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in shown:
        side: Literal["left", "right"] = "left" if _is_text(shown[name]) else "right"
        table.add_column(str(name).replace(" ", "\n"), justify=side, no_wrap=name not in WRAPPED)
    for line in shown.itertuples(index=False):
        table.add_row(*map(str, line))
    out = io.StringIO()
    # Rather too wide than cut off.
    console = Console(file=out, width=max(width, _width(shown)), color_system=None, markup=False, highlight=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").replace("\u00a0", " ").split("\n"))


def _markdown(shown: pd.DataFrame) -> str:
    head = [str(name).replace("\u00a0", " ") for name in shown]
    rule = ["---" if _is_text(shown[name]) else "---:" for name in shown]
    lines = [head, rule, *shown.itertuples(index=False)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
