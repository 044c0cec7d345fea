"""What benchmarks rest on: ratios of rounds, extra memory, and the table that the README shows."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # benchmarks are no part of the package

from avq.errors import UsageError  # noqa: E402
from benchmarks import noise, table  # noqa: E402
from benchmarks.interleave import in_turns, interleaved, ratio_of  # noqa: E402
from benchmarks.memory import extra_memory  # noqa: E402
from benchmarks.own_process import OwnProcess  # noqa: E402

LINE = table.Line("a case", "ms", 10.0, "a peer 1.0", 50.0, 5.0, 4.5, 5.5, goal=4.0, ours_mib=10.0, peer_mib=30.0)


def test_works_are_called_in_turns_and_each_begins() -> None:
    seen: list[str] = []
    seconds = in_turns([lambda: seen.append("a"), lambda: seen.append("b")], 2)
    assert seen == ["a", "b", "b", "a", "a", "b"]
    assert seconds.shape == (2, 2)
    assert interleaved(lambda: None, lambda: None, 3).rounds == 3


def test_a_ratio_is_of_rounds_so_that_load_cancels() -> None:
    load = np.array([1.0, 9.0, 2.0, 5.0, 1.0])
    ratio = ratio_of(load, 3 * load)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    uneven = ratio_of(np.ones(9), np.arange(1.0, 10.0))
    assert uneven.median == 5
    assert 1 <= uneven.low < 5 < uneven.high <= 9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_extra_memory_is_what_a_call_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "made_blocks.py").write_text(
        "import numpy as np\ndef make(n):\n    return lambda: np.ones(n * 2**17).sum()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert extra_memory("made_blocks:make", 64) == pytest.approx(64, abs=4)


def test_the_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.csv"
    other = table.Line("another", "s", 0.1, limit=0.4)
    table.save([LINE, other], path)
    assert table.load(path) == [LINE, other]
    table.save([table.Line("another", "s", 0.2)], path)
    assert [line.ours_value for line in table.load(path)] == [10.0, 0.2]
    assert "5.00 (4.50 to 5.50)" in path.with_suffix(".md").read_text()


def test_a_noisy_line_is_marked_and_does_not_replace_a_quiet_one(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.csv"
    quiet, noisy = (replace(LINE, noise=noise) for noise in (0.09, 0.11))
    table.save([quiet], path)
    with pytest.raises(UsageError, match=r"noisy \(11%, at most 10%\).*'a case'"):
        table.save([noisy], path)
    assert table.load(path) == [quiet]
    table.save([noisy], path, noisy=True)
    assert "a case (noisy: 11%)" in path.with_suffix(".md").read_text()
    table.save([noisy], path)


def test_noise_is_what_departs_from_the_median_and_a_neighbour() -> None:
    even = np.ones(60)
    assert noise.of(even, even / 2) == 0
    assert noise.of(even, np.repeat([0.5, 0.7], [50, 10])) == pytest.approx(0.4)
    assert noise.of(even, even * 1.3) == pytest.approx(0.3)


def test_the_readme_has_the_lines_with_a_goal_between_its_marks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, readme = tmp_path / "benchmarks.csv", tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    monkeypatch.setattr(table, "CSV", path)
    monkeypatch.setattr(table, "README", readme)
    table.save([LINE, table.Line("without", "s", 0.1)], path)
    text = readme.read_text()
    assert text.startswith(f"before\n{table.BEGIN}\n| case")
    assert text.endswith(f"{table.END}\nafter\n")
    assert "a case" in text
    assert "without" not in text
    assert "without" in path.with_suffix(".md").read_text()


def test_a_call_in_its_own_process_and_one_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "made_marks.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "def make(path):\n    return lambda: Path(path).write_text(str(os.getpid()))\n"
        "def fail():\n    raise ValueError('not the same')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    mark = tmp_path / "mark"
    with OwnProcess("made_marks:make", str(mark), threads=1) as there:
        mark.unlink()
        there()
        process = int(mark.read_text())
        assert process != os.getpid()
    assert not psutil.pid_exists(process)
    with OwnProcess("made_marks:make", str(mark), threads=1) as there:
        os.kill(int(mark.read_text()), signal.SIGKILL)
        with pytest.raises(RuntimeError, match="process of made_marks:make ended"):
            there()
    with pytest.raises(RuntimeError, match="process of made_marks:fail ended"):
        OwnProcess("made_marks:fail", threads=1)


def test_missed_goals_are_named() -> None:
    assert LINE.missed == []
    assert "not 6" in replace(LINE, goal=6.0).missed[0]
    assert "not 1/4" in replace(LINE, memory_goal=4.0).missed[0]
    assert "above 0.4" in table.Line("start", "s", 0.5, limit=0.4).missed[0]


def test_the_readme_shows_the_committed_table() -> None:
    text = table.README.read_text(encoding="utf-8")
    shown = text.partition(table.BEGIN)[2].partition(table.END)[0].strip()
    assert shown == (table.for_readme(table.load()) if table.CSV.exists() else "")
