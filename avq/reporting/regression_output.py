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
from avq.reporting.cells import FAILING, Cell, Check, smallest_caught
from avq.reporting.formatting import p_value, signed
from avq.reporting.health import Note
from avq.reporting.render import Format, text_table

Style = Literal["table", "json", "junit", "markdown"]
HEAD = {0: "good", 1: "regressed", 3: "not comparable"}
SIGN = {0: "✅", 1: "❌", 3: "⚠️"}
KINDS = {"trained": "trained", "deterministic": "deterministic", "time": "cost", "memory": "cost"}
_OPEN = 3  # undecided losses that are named
PASSED = ("no worse", "better", "undecided", "equal", "similar", "same")


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
    in_markdown = style == "markdown"
    verdict = HEAD[check.exit_code]
    title = f"### {SIGN[check.exit_code]} {check.experiment}: **{verdict}**"
    parts = [title if in_markdown else f"{check.experiment}: {verdict}"]
    if check.incomparable:
        parts.append(f"Not comparable: {check.incomparable}.")
    failing = [cell for cell in check.cells if check.fails(cell)]
    better = [cell for cell in check.cells if cell.verdict == "better"]
    for heading, cells in (("What fails", failing), ("Better than the baseline", better)):
        if cells:
            parts += [heading + ":", text_table(_shown(cells), style, width)]
    if check.undecided:
        cells = check.undecided[:_OPEN]
        parts += ["The largest losses that the seeds do not decide:", text_table(_shown(cells), style, width)]
    if check.notes:
        notes = [{"row": note.row, "what": _what(check, note), "why": note.reason} for note in check.notes]
        parts += ["Rows and runs:", text_table(pd.DataFrame(notes), style, width)]
    other = Counter(
        (METRICS[cell.metric].label, cell.reason) for cell in check.cells if cell.verdict == "other protocol"
    )
    parts += [f"{label} is not compared in {count} cells: {why}." for (label, why), count in other.items()]
    parts.append("\n".join(f"- {line}" if in_markdown else line for line in summary(check)))
    if in_markdown and check.trained:
        table = text_table(_shown(check.trained), "markdown", width)
        head = f"<details><summary>All {len(check.trained)} tested cells</summary>"
        parts.append(f"{head}\n\n{table}\n\n</details>")
    return "\n\n".join(parts)


def summary(check: Check) -> list[str]:
    """The counts of every kind of verdict, and which loss this check would have caught."""
    lines = []
    for kind in dict.fromkeys(KINDS.values()):
        counts = Counter(cell.verdict for cell in check.cells if KINDS[METRICS[cell.metric].kind] == kind)
        if counts:
            verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
            lines.append(f"{sum(counts.values())} {kind} cells: {verdicts}.")
    if check.trained:
        lines.append(
            f"Trained cells: one-sided over seeds, by Holm over {len(check.trained)} cells at {100 * check.alpha:g} % "
            "for the table as a whole."
        )
    if check.seeds_gone:
        lines.append(f"Seeds of the baseline that no row has now: {', '.join(map(str, check.seeds_gone))}.")
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


def _what(check: Check, note: Note) -> str:
    if check.fails(note):
        return note.kind
    return f"{note.kind} (allowed)" if note.fails else f"{note.kind} (as before)"


def _as_object(check: Check) -> dict[str, Any]:
    cells = [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()}
        for line in map(dataclasses.asdict, check.cells)
    ]
    return {
        "experiment": check.experiment,
        "verdict": HEAD[check.exit_code],
        "exit_code": check.exit_code,
        "alpha": check.alpha,
        "incomparable": check.incomparable,
        "rows": [{**dataclasses.asdict(note), "fails": check.fails(note)} for note in check.notes],
        "cells": [line | {"fails": check.fails(cell)} for line, cell in zip(cells, check.cells, strict=True)],
        "notes": summary(check),
    }


def _junit(check: Check) -> str:
    """A test case a cell and a note; a cell without a verdict that passes or fails is skipped."""
    suite = ElementTree.Element("testsuite", name=f"avq-bench check {check.experiment}")
    counts: Counter[str] = Counter()

    def add(found: Cell | Note, name: str, outcome: str, **attributes: str) -> None:
        place = f"{check.experiment}.{found.dataset}.{found.row}"
        case = ElementTree.SubElement(suite, "testcase", classname=place, name=name, time="0")
        counts[outcome] += 1
        if outcome:
            ElementTree.SubElement(case, outcome, attributes)

    for cell in check.cells:
        old, new = (format_value(cell.metric, value) for value in (cell.before, cell.now))
        message = f"{cell.verdict}: {old} before, {new} now" + (f"; {cell.reason}" if cell.reason else "")
        if check.fails(cell):
            add(cell, cell.column, "failure", type=cell.verdict, message=message)
        elif cell.verdict == "other protocol" and "protocol" not in check.allowed:
            add(cell, cell.column, "error", type="not comparable", message=message)
        elif cell.verdict not in (*FAILING, *PASSED):
            add(cell, cell.column, "skipped", message=message)
        else:
            add(cell, cell.column, "")
    for note in check.notes:
        if check.fails(note):
            add(note, note.kind, "failure", message=note.reason, type=note.kind)
        else:
            add(note, note.kind, "skipped", message=note.reason)
    for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(counts[outcome]))
    suite.set("tests", str(counts.total()))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")
