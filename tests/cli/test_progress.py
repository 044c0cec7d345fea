from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from avq.cli.progress import Bars, Lines, seconds, sentence, showing_progress
from avq.tasks.events import Event

SWEEP = [
    Event("message", text="ablation_levels: 2 runs"),
    Event("start", "a-s0", total=2),
    Event("progress", "a-s0", "training", 0, 2, 40, 100, 812.4, 0.1, 61.0, 200.0),
    Event("progress", "b-s0", "measuring", 0, 2),
    Event("finish", "a-s0", "", 1, 2),
    Event("finish", "c-s0", "reused", 2, 2),
    Event("fail", "b-s0", "loss is nan at step [7]", 2, 2),
]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "?"), (-1, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_seconds(value, text):
    assert seconds(value) == text


def test_sentences_say_what_was_reused_and_what_failed():
    assert sentence(SWEEP[0]) == "ablation_levels: 2 runs"
    assert sentence(SWEEP[4]) == "[1/2] finished a-s0"
    assert sentence(SWEEP[5]) == "[2/2] reused c-s0"
    assert sentence(SWEEP[6]) == "[2/2] FAILED b-s0: loss is nan at step [7]"


def test_plain_lines_come_now_and_then(capsys, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("avq.cli.progress.time.monotonic", lambda: clock[0])
    lines = Lines()
    for event in (SWEEP[1], SWEEP[2], SWEEP[2]):
        lines(event)
    clock[0] += 16
    for event in (SWEEP[2], SWEEP[2], SWEEP[4]):
        lines(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "started a-s0",
        "  a-s0: step 40/100, 812 images/s, 1 min 01 s left (whole sweep: 3 min 20 s)",
        "[1/2] finished a-s0",
    ]


def test_bars_show_runs_and_the_whole():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    bars = Bars(console)
    with bars.progress:
        for event in SWEEP[:4]:
            bars(event)
        bars.progress.refresh()
        screen = console.file.getvalue()
        for event in SWEEP[4:]:
            bars(event)
    plain = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", screen)
    for words in ("a-s0", "40/100", "812 images/s", "1 min 01 s", "all runs", "0/2", "3 min 20 s", "measuring"):
        assert words in plain
    assert "loss is nan at step [7]" in console.file.getvalue()


def test_a_pipe_gets_lines():
    with showing_progress(io.StringIO()) as listener:
        assert isinstance(listener, Lines)
