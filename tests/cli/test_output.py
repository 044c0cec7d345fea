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
