from __future__ import annotations

import csv
import io
import json

import pytest

from avq.cli.output import print_rows

ROWS = [{"name": "a|b", "value": 0.5, "note": None}, {"name": "c", "value": 10, "note": 'x,"y"'}]


@pytest.mark.parametrize("style", ["table", "csv", "json", "markdown"])
def test_every_format_holds_every_value(capsys, style):
    print_rows(ROWS, style)
    out = capsys.readouterr().out
    assert out.endswith("\n")
    assert not out.endswith("\n\n")
    if style == "json":
        assert json.loads(out) == ROWS
    elif style == "csv":
        assert [row["note"] for row in csv.DictReader(io.StringIO(out))] == ["", 'x,"y"']
    elif style == "markdown":
        assert out.splitlines()[2] == "| a\\|b | 0.5 |  |"
    else:
        assert out.splitlines() == ["name  value  note", "----  -----  -----", "a|b   0.5", 'c     10     x,"y"']


@pytest.mark.parametrize("style", ["table", "csv", "json", "markdown"])
def test_no_rows(capsys, style):
    print_rows([], style)
    if style == "json":
        assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(("columns", "wide"), [(80, True), (80, False), (40, True), (200, False)])
def test_nothing_is_wider_than_the_terminal(capsys, monkeypatch, columns, wide):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    row = {"check": "data", "found": "missing; " + "to get it, ask " * 9, "fix": "--data-root", "more": None}
    row |= {f"field {number}": "words of some length" for number in range(8)} if wide and columns > 40 else {}
    print_rows([row, row], "table")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert [" ".join(out.split()).count(word) for word in ("--data-root", "to get it, ask")] >= [2, 2]
    assert ("\n\n" in out) == wide  # then a row is a block of its own
