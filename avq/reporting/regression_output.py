"""A verdict on a table as text for a terminal, GitHub-flavoured Markdown, JSON, and JUnit XML."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal
from xml.etree import ElementTree

import pandas as pd

from avq.metrics.format import format_value
from avq.metrics.registry import METRICS
from avq.reporting.formatting import p_value, signed
from avq.reporting.health import Note
from avq.reporting.regression import FAILING, Cell, Check, smallest_caught
from avq.reporting.render import Format, text_table

Style = Literal["table", "json", "junit", "markdown"]
HEAD = {0: "good", 1: "regressed", 3: "not comparable"}
SIGN = {0: "✅", 1: "❌", 3: "⚠️"}


def show(check: Check, style: Style, width: int = 110) -> str:
    """The verdict as text that ends without a newline.

    `table` and `markdown` show what fails, what is better, and the counts of the rest; `json` and `junit` hold
    every cell.
    """
    if style == "json":
        return json.dumps(_as_object(check), indent=2, ensure_ascii=False, allow_nan=False)
    if style == "junit":
        return _junit(check)
    return _text(check, style, width)


def changes(check: Check) -> pd.DataFrame:
    """What a new baseline changes, as a table to be shown: every cell whose value is another than before."""
    differ = [cell for cell in check.cells if cell.before != cell.now]
    return _shown(differ, ("before", "now", "change"))


def _text(check: Check, style: Format, width: int) -> str:
    bold = "**" if style == "markdown" else ""
    title = f"{check.experiment}: {bold}{HEAD[check.exit_code]}{bold}"
    parts = [f"### {SIGN[check.exit_code]} {title}" if style == "markdown" else title]
    if check.incomparable:
        parts.append(f"Not comparable: {check.incomparable}.")
    failing = [cell for cell in check.cells if check.fails(cell)]
    foreign = [cell for cell in check.cells if cell.verdict == "other protocol"]
    better = [cell for cell in check.cells if cell.verdict == "better"]
    for heading, cells in (("What fails", failing), ("Better than the baseline", better)):
        if cells:
            parts += [heading + ":", text_table(_shown(cells), style, width)]
    if check.notes:
        parts += ["Rows and runs:", text_table(_notes(check), style, width)]
    parts += _protocols(foreign)
    lines = summary(check)
    parts.append("\n".join(f"- {line}" if style == "markdown" else line for line in lines))
    if style == "markdown":
        parts.append(_details(check))
    return "\n\n".join(parts)


def summary(check: Check) -> list[str]:
    """The counts of every kind of verdict, and which loss this check would have caught."""
    kinds = {"trained": "trained", "deterministic": "deterministic", "time": "cost", "memory": "cost"}
    lines = []
    for kind in dict.fromkeys(kinds.values()):
        counts = Counter(cell.verdict for cell in check.cells if kinds[METRICS[cell.metric].kind] == kind)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        if told:
            lines.append(f"{sum(counts.values())} {kind} cells: {told}.")
    if check.trained:
        share = f"{100 * check.alpha:g} %"
        lines.append(f"Trained cells: one-sided over seeds, Holm over {len(check.trained)} cells; at most {share} ")
        lines[-1] += "of unchanged tables fail."
    caught = smallest_caught(check, "mae")
    if caught is not None:
        cell, loss = caught
        percent = f"{100 * loss / cell.before:.1f} %" if cell.before else ""
        lines.append(
            f"A loss of {format_value('mae', loss)} in MAE ({percent} of {cell.row}'s) would be caught in 95 of 100 "
            f"checks with {cell.n_before} seeds before and {cell.n_now} now; a smaller one may pass as undecided."
        )
    return lines


def _shown(cells: Sequence[Cell], columns: Sequence[str] = ("before", "now", "change", "p (Holm)")) -> pd.DataFrame:
    several = len({cell.dataset for cell in cells}) > 1
    lines = []
    for cell in cells:
        metric = METRICS[cell.metric]
        label = metric.label if cell.level is None else f"{metric.label}, level {cell.level}"
        values = {
            "before": format_value(cell.metric, cell.before),
            "now": format_value(cell.metric, cell.now),
            "change": signed(cell.now - cell.before, metric),
            "p (Holm)": p_value(cell.p_holm),
        }
        line = {"dataset": cell.dataset} if several else {}
        line |= {"row": cell.row, "metric": label} | {name: values[name] for name in columns}
        lines.append(line | {"verdict": cell.verdict, "why": cell.reason})
    return pd.DataFrame(lines)


def _notes(check: Check) -> pd.DataFrame:
    return pd.DataFrame({"row": note.row, "what": _what(check, note), "why": note.reason} for note in check.notes)


def _what(check: Check, note: Note) -> str:
    if check.fails(note):
        return note.kind
    return f"{note.kind} (allowed)" if note.fails else f"{note.kind} (as before)"


def _protocols(cells: Sequence[Cell]) -> list[str]:
    """One line a metric and pair of protocols, with the number of rows: they change together."""
    counts = Counter((METRICS[cell.metric].label, cell.reason) for cell in cells)
    return [f"{label} is not compared in {count} cells: {reason}." for (label, reason), count in counts.items()]


def _details(check: Check) -> str:
    """All trained cells, folded away."""
    if not check.trained:
        return ""
    table = text_table(_shown(check.trained), "markdown", 110)
    return f"<details><summary>All {len(check.trained)} tested cells</summary>\n\n{table}\n\n</details>"


def _as_object(check: Check) -> dict[str, Any]:
    return {
        "experiment": check.experiment,
        "verdict": HEAD[check.exit_code],
        "exit_code": check.exit_code,
        "alpha": check.alpha,
        "incomparable": check.incomparable,
        "rows": [{**dataclasses.asdict(note), "fails": check.fails(note)} for note in check.notes],
        "cells": [
            {key: _finite(value) for key, value in dataclasses.asdict(cell).items()} | {"fails": check.fails(cell)}
            for cell in check.cells
        ],
        "notes": summary(check),
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _junit(check: Check) -> str:
    """A test case a cell and a note; cells that nothing was said about are skipped."""
    suite = ElementTree.Element("testsuite", name=f"avq-bench check {check.experiment}")
    counts: Counter[str] = Counter()
    for cell in check.cells:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{check.experiment}.{cell.dataset}.{cell.row}", name=cell.column, time="0"
        )
        old, new = (format_value(cell.metric, value) for value in (cell.before, cell.now))
        told = f"{cell.verdict}: {old} before, {new} now"
        told += f"; {cell.reason}" if cell.reason else ""
        unsaid = cell.verdict not in (*FAILING, "no worse", "better", "undecided", "equal", "similar", "same")
        if check.fails(cell):
            counts["failures"] += 1
            ElementTree.SubElement(case, "failure", type=cell.verdict, message=told)
        elif cell.verdict == "other protocol" and "protocol" not in check.allowed:
            counts["errors"] += 1
            ElementTree.SubElement(case, "error", type="not comparable", message=told)
        elif unsaid:
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", message=told)
    for note in check.notes:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{check.experiment}.{note.dataset}.{note.row}", name=note.kind, time="0"
        )
        kind = "failure" if check.fails(note) else "skipped"
        counts["failures" if kind == "failure" else "skipped"] += 1
        attributes = {"message": note.reason} | ({"type": note.kind} if kind == "failure" else {})
        ElementTree.SubElement(case, kind, attributes)
    for name in ("failures", "errors", "skipped"):
        suite.set(name, str(counts[name]))
    suite.set("tests", str(len(check.cells) + len(check.notes)))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")
