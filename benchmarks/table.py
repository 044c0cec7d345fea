"""The table of benchmarks: results/<machine class>/benchmarks.csv, the same as Markdown, and the README's copy.

`python -m benchmarks.table` writes the Markdown and the README anew from the CSV of this machine class.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from avq.errors import UsageError
from benchmarks.noise import NOISY

ROOT = Path(__file__).parents[1]
CSV = ROOT / "results" / "cpu" / "benchmarks.csv"
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: written by `make bench` -->", "<!-- end of benchmarks -->"


@dataclass(frozen=True)
class Line:
    """One measurement. What does not apply is empty.

    Attributes:
        case: what was done, with its sizes.
        peer: what it is compared with, with its version.
        unit: of `ours_value` and `peer_value`.
        ratio: how many times as good as the peer, with its 95 % interval `low` to `high`.
        goal: what `ratio` should reach; or `limit`, what `ours_value` should not exceed.
        ours_mib, peer_mib: extra memory at the peak; `memory_goal` is what their ratio should reach.
        noise: of the machine when it was measured (`benchmarks.noise`).
    """

    case: str
    unit: str
    ours_value: float
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    goal: float | None = None
    limit: float | None = None
    ours_mib: float | None = None
    peer_mib: float | None = None
    memory_goal: float | None = None
    rounds: int = 1
    threads: int = 1
    torch: str = ""
    machine: str = ""
    noise: float | None = None

    @property
    def noisy(self) -> bool:
        return self.noise is not None and self.noise > NOISY

    @property
    def missed(self) -> list[str]:
        """The goals that were not reached, in words."""
        words = []
        if self.goal is not None and (self.ratio or 0.0) < self.goal:
            words.append(f"{self.case}: {self.ratio:.2f} times {self.peer}, not {self.goal:g}")
        if self.limit is not None and self.ours_value > self.limit:
            words.append(f"{self.case}: {self.ours_value:.3g} {self.unit}, above {self.limit:g}")
        if self.memory_goal and self.ours_mib and self.peer_mib and self.peer_mib / self.ours_mib < self.memory_goal:
            words.append(f"{self.case}: {self.ours_mib:.0f} of {self.peer_mib:.0f} MiB, not 1/{self.memory_goal:g}")
        return words


def save(lines: Sequence[Line], path: Path = CSV, noisy: bool = False) -> None:
    """Put the lines into the CSV, in place of those of the same cases, and write what is made of it.

    Raises:
        UsageError: a noisy line would replace a quiet one, and `noisy` does not allow that.
    """
    known = {line.case: line for line in load(path)}
    worse = [line.case for line in lines if line.noisy and line.case in known and not known[line.case].noisy]
    if worse and not noisy:
        raise UsageError(
            f"the machine is noisy ({lines[0].noise:.0%}, at most {NOISY:.0%}): nothing is saved in place of quiet "
            f" measurements such as '{worse[0]}'. Wait until it is idle, or give --noisy."
        )
    kept = known | {line.case: line for line in lines}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        for line in sorted(kept.values(), key=lambda line: line.case):
            values = asdict(line).items()
            writer.writerow({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values})
    write_pages(path)


def load(path: Path = CSV) -> list[Line]:
    """The lines of a CSV; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Line(**{name: _value(name, text) for name, text in row.items()}) for row in csv.DictReader(file)]


def _value(name: str, text: str) -> str | int | float | None:
    if name in ("case", "unit", "peer", "torch", "machine"):
        return text
    if name in ("rounds", "threads"):
        return int(text)
    return float(text) if text else None


def markdown(lines: Sequence[Line]) -> str:
    """The table as a page shows it."""
    machines = sorted({f"{line.machine}, torch {line.torch}" for line in lines})
    out = [
        "| case | here | peer | times as fast (95 %) | goal | extra memory, here / peer |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    out += ["| " + " | ".join(_cells(line)) + " |" for line in lines]
    return "\n".join([*out, "", "Measured on " + "; ".join(machines) + "."])


def _cells(line: Line) -> list[str]:
    here = f"{_number(line.ours_value)} {line.unit}"
    peer = f"{_number(line.peer_value)} {line.unit} ({line.peer})" if line.peer_value is not None else ""
    ratio = f"{line.ratio:.2f} ({line.low:.2f} to {line.high:.2f})" if line.ratio is not None else ""
    goal = f"≥ {line.goal:g}" if line.goal else f"≤ {line.limit:g} {line.unit}" if line.limit else ""
    memory = ""
    if line.ours_mib is not None and line.peer_mib is not None:
        memory = f"{line.ours_mib:.0f} / {line.peer_mib:.0f} MiB"
    return [line.case + (f" (noisy: {line.noise:.0%})" if line.noisy else ""), here, peer, ratio, goal, memory]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def for_readme(lines: Sequence[Line]) -> str:
    """The lines that have a goal."""
    return markdown([line for line in lines if line.goal or line.limit or line.memory_goal])


def write_pages(path: Path = CSV) -> None:
    """Markdown beside the CSV; between the README's marks, where it has them, `for_readme`."""
    table = markdown(load(path))
    path.with_suffix(".md").write_text(f"# Benchmarks\n\n`make bench` writes this page.\n\n{table}\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    if path == CSV and BEGIN in text and END in text:
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        README.write_text(f"{before}{BEGIN}\n{for_readme(load(path))}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_pages()
