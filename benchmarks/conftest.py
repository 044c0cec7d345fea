"""What benchmarks share: all cores, a fixture that compares, and the table that `--save-table` writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
import torch

from avq.machine import cores, machine_name
from benchmarks.interleave import Work, interleaved
from benchmarks.noise import cpu_kind, noise
from benchmarks.table import Line, save

_LINES = pytest.StashKey[list[Line]]()

Report = Callable[..., Line]
Compare = Callable[..., Line]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--save-table", action="store_true", help="write results/cpu/benchmarks.csv and the README's table"
    )
    parser.addoption("--noisy", action="store_true", help="save a noisy table in place of a quiet one")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


@pytest.fixture(autouse=True)
def _every_core() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", cores())))


@pytest.fixture
def report(pytestconfig: pytest.Config, benchmark: Any) -> Report:
    """Note a line of the table: ``report(case, unit, value, limit=...)``."""

    def note(case: str, unit: str, ours_value: float, **more: Any) -> Line:
        machine = ", ".join(filter(None, [machine_name("cpu"), cpu_kind()]))
        fixed = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": machine, "noise": noise()}
        line = Line(case, unit, ours_value, **fixed | more)
        pytestconfig.stash[_LINES].append(line)
        benchmark.extra_info |= {key: value for key, value in vars(line).items() if value not in (None, "")}
        return line

    return note


@pytest.fixture
def compare(benchmark: Any, report: Report) -> Compare:
    """Time ours and a peer's in turns and note the line: ``compare(case, ours, peer, peer_name, rounds=...)``."""

    def run(case: str, ours: Work, peer: Work, peer_name: str, rounds: int = 15, **more: Any) -> Line:
        ratio = benchmark.pedantic(lambda: interleaved(ours, peer, rounds), rounds=1)
        return report(
            case,
            "ms",
            1000 * ratio.ours,
            peer=peer_name,
            peer_value=1000 * ratio.peer,
            ratio=ratio.median,
            low=ratio.low,
            high=ratio.high,
            rounds=rounds,
            **more,
        )

    return run


def peer_version(package: str) -> str:
    """The peer's name and version."""
    return f"{package} {version(package)}"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash[_LINES]
    for line in lines:
        value = f"{line.case}: {line.ours_value:.3g} {line.unit}"
        against = f", {line.peer} {line.peer_value:.3g}: {line.ratio:.2f} times" if line.ratio is not None else ""
        spread = f" ({line.low:.2f} to {line.high:.2f})" if line.low is not None else ""
        memory = f"; extra memory {line.ours_mib:.0f} / {line.peer_mib:.0f} MiB" if line.ours_mib is not None else ""
        terminalreporter.write_line(value + against + spread + memory)
    for words in (words for line in lines for words in line.missed):
        terminalreporter.write_line(f"MISSED {words}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Save what was asked for; a goal that was missed fails the whole."""
    lines = session.config.stash[_LINES]
    if lines and session.config.getoption("--save-table"):
        save(lines, noisy=session.config.getoption("--noisy"))
    if any(line.missed for line in lines):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
