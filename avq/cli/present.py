"""Long-form results for a person to read: table, contrasts and notes, one experiment at a time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from avq.design.ablation import Ablation

_WIDEST = 160
_PIPED = 120


def print_experiments(
    long: pd.DataFrame,
    find: Callable[[str], Ablation | None],
    style: str,
    split: str = "test",
    metrics: Sequence[str] = (),
    whole: pd.DataFrame | None = None,
) -> None:
    """Print long-form results, as `avq.load_results` returns them, experiment by experiment.

    Args:
        long: what was loaded.
        find: returns the ablation that declared an experiment's contrasts, from its name.
        style: ``table`` and ``markdown`` show contrasts and footers; ``csv`` is the wide table alone; ``json`` is a
            list with one object per experiment.
        split: which split's metrics.
        metrics: those asked for by name, shown even if a table leaves them out otherwise.
        whole: the results of which `long` shows a part; verdicts rest on them.

    Raises:
        NotComparable: a column would hold two protocols.
    """
    from avq.reporting.render import render
    from avq.reporting.tables import wide_table

    parts, wholes = by_experiment(long), by_experiment(long if whole is None else whole)
    if style == "csv":
        click.echo(render(joined({name: wide_table(part, split, metrics) for name, part in parts.items()}), "csv"))
    elif style == "json":
        objects = [_as_object(name, part, wholes[name], find(name), split, metrics) for name, part in parts.items()]
        click.echo(json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        texts = [_as_text(name, part, wholes[name], find(name), style, split, metrics) for name, part in parts.items()]
        click.echo("\n\n".join(texts))


def by_experiment(long: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each experiment, in the order of the first."""
    return {str(name): part for name, part in long.groupby("experiment", sort=False)}


def joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables of several experiments as one, with the experiment's name as its first column."""
    import pandas as pd

    table = pd.concat([table.assign(experiment=name) for name, table in tables.items()], ignore_index=True)
    return table[["experiment", *(name for name in table if name != "experiment")]]


def room() -> int:
    """Characters per line: the terminal's, within limits."""
    return min(_WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _PIPED


def _as_object(
    name: str, long: pd.DataFrame, whole: pd.DataFrame, ablation: Ablation | None, split: str, metrics: Sequence[str]
) -> dict[str, Any]:
    from avq.reporting.footer import footer
    from avq.reporting.render import render
    from avq.reporting.statistics import judged
    from avq.reporting.tables import judged_table, wide_table

    found: dict[str, Any] = {"experiment": name, "split": split}
    found["rows"] = json.loads(render(wide_table(long, split, metrics), "json"))
    if ablation is not None:
        found["contrasts"] = json.loads(render(judged_table(judged(whole, ablation, split, long)), "json"))
    return found | {"notes": footer(long, split, _alpha(ablation)).splitlines()}


def _as_text(
    name: str, long: pd.DataFrame, whole: pd.DataFrame, ablation: Ablation | None, style: Any, split: str,
    metrics: Sequence[str],
) -> str:  # fmt: skip
    from avq.reporting import scaling
    from avq.reporting.footer import footer
    from avq.reporting.render import render
    from avq.reporting.statistics import judged
    from avq.reporting.tables import judged_table, left_out, wide_table

    markdown, width = style == "markdown", room()
    heading = f"### {name}\n" if markdown else name
    if scaling.has_points(long):
        return f"{heading.rstrip()}\n\n{scaling.show(long, style, width)}"
    question = f"\n{ablation.question}" if ablation is not None else ""
    parts = [(heading + question).rstrip(), render(wide_table(long, split, metrics), style, width)]
    if found := judged(whole, ablation, split, long):
        parts.append(render(judged_table(found), style, width))
    notes = footer(long, split, _alpha(ablation)).splitlines()
    if more := left_out(long, split, metrics):
        notes.append(f"Measured too, shown when asked for (table --metrics): {', '.join(more)}.")
    return "\n\n".join([*parts, "\n".join(f"- {note}" if markdown else note for note in notes)])


def _alpha(ablation: Ablation | None) -> float:
    return ablation.statistics.alpha if ablation is not None else 0.05
