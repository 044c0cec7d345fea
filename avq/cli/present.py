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
) -> None:
    """Print long-form results, as `avq.load_results` returns them, experiment by experiment.

    Args:
        long: what was loaded.
        find: returns the ablation that declared an experiment's contrasts, from its name.
        style: ``table`` and ``markdown`` show contrasts and footers; ``csv`` is the wide table alone; ``json`` is a
            list with one object per experiment.
        split: which split's metrics.
        metrics: those asked for by name, shown even if a table leaves them out otherwise.

    Raises:
        NotComparable: a column would hold two protocols.
    """
    from avq.reporting.render import render
    from avq.reporting.tables import wide_table

    parts = by_experiment(long)
    if style == "csv":
        click.echo(render(joined({name: wide_table(part, split, metrics) for name, part in parts.items()}), "csv"))
    elif style == "json":
        objects = [_as_object(name, part, find(name), split, metrics) for name, part in parts.items()]
        click.echo(json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        texts = [_as_text(name, part, find(name), style, split, metrics) for name, part in parts.items()]
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
    name: str, long: pd.DataFrame, ablation: Ablation | None, split: str, metrics: Sequence[str]
) -> dict[str, Any]:
    from avq.reporting.footer import footer
    from avq.reporting.render import render
    from avq.reporting.tables import wide_table

    found: dict[str, Any] = {"experiment": name, "split": split}
    found["rows"] = json.loads(render(wide_table(long, split, metrics), "json"))
    if ablation is not None:
        found["contrasts"] = json.loads(render(_contrasts(long, ablation, split), "json"))
    return found | {"notes": footer(long, split, _alpha(ablation)).splitlines()}


def _as_text(
    name: str, long: pd.DataFrame, ablation: Ablation | None, style: Any, split: str, metrics: Sequence[str]
) -> str:
    from avq.reporting import scaling
    from avq.reporting.footer import footer
    from avq.reporting.render import render
    from avq.reporting.tables import left_out, wide_table

    markdown, width = style == "markdown", room()
    heading = f"### {name}\n" if markdown else name
    if scaling.has_points(long):
        return f"{heading.rstrip()}\n\n{scaling.show(long, style, width)}"
    question = f"\n{ablation.question}" if ablation is not None else ""
    parts = [(heading + question).rstrip(), render(wide_table(long, split, metrics), style, width)]
    if ablation is not None:
        judged = _contrasts(long, ablation, split)
        parts += [render(judged, style, width)] if len(judged) else []
    notes = footer(long, split, _alpha(ablation)).splitlines()
    if more := left_out(long, split, metrics):
        notes.append(f"Measured too, shown when asked for (table --metrics): {', '.join(more)}.")
    return "\n\n".join([*parts, "\n".join(f"- {note}" if markdown else note for note in notes)])


def _contrasts(part: pd.DataFrame, ablation: Ablation, split: str) -> pd.DataFrame:
    """The contrasts whose two rows are in the table, corrected over all that the ablation declares."""
    from avq.reporting.tables import contrast_table

    statistics = ablation.statistics
    judged = contrast_table(part, ablation.contrasts, statistics.alpha, statistics.margin, split)
    there = set(part["row"])
    return judged[judged["a"].isin(there) & judged["b"].isin(there)]


def _alpha(ablation: Ablation | None) -> float:
    return ablation.statistics.alpha if ablation is not None else 0.05
