"""Long-form results as a person reads them: table, contrasts, and the lines under them, one experiment at a time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

if TYPE_CHECKING:
    import pandas as pd

    from avq.design.ablation import Ablation
    from avq.reporting.render import Format

_WIDEST = 160
_PIPED = 120


class Experiment(NamedTuple):
    """One table: the rows of an ablation under one preset, and what judges them (None where the file is unknown)."""

    name: str
    long: pd.DataFrame
    ablation: Ablation | None


def experiments_of(long: pd.DataFrame, find: Callable[[str], Ablation | None]) -> list[Experiment]:
    """Long-form results, as `avq.load_results` gives them, experiment by experiment.

    Args:
        long: what was loaded.
        find: gives the ablation that declared the contrasts of an experiment, from its name.
    """
    parts = long.groupby("experiment", sort=False)
    return [Experiment(str(name), part, find(str(name))) for name, part in parts]


def print_experiments(
    experiments: Sequence[Experiment], style: str, split: str = "test", metrics: Sequence[str] = ()
) -> None:
    """Print experiments one after the other.

    Args:
        experiments: what to print.
        style: ``table`` and ``markdown`` show contrasts and footers; ``csv`` is the wide table alone; ``json`` a
            list of objects, one an experiment.
        split: whose measures.
        metrics: those asked for by name, which are shown though a table leaves them out otherwise.

    Raises:
        NotComparable: a column would hold two protocols.
    """
    if style == "csv":
        _print_csv(experiments, split, metrics)
    elif style == "json":
        objects = [_as_object(experiment, split, metrics) for experiment in experiments]
        click.echo(json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n\n".join(_as_text(experiment, style, split, metrics) for experiment in experiments))


def _print_csv(experiments: Sequence[Experiment], split: str, metrics: Sequence[str]) -> None:
    import pandas as pd

    from avq.reporting.render import render
    from avq.reporting.tables import wide_table

    wide = []
    for experiment in experiments:
        table = wide_table(experiment.long, split, metrics)
        table.insert(0, "experiment", experiment.name)
        wide.append(table)
    click.echo(render(pd.concat(wide, ignore_index=True), "csv"))


def _as_object(experiment: Experiment, split: str, metrics: Sequence[str]) -> dict[str, Any]:
    from avq.reporting.footer import footer
    from avq.reporting.render import render
    from avq.reporting.tables import wide_table

    long, ablation = experiment.long, experiment.ablation
    found: dict[str, Any] = {"experiment": experiment.name, "split": split}
    found["rows"] = json.loads(render(wide_table(long, split, metrics), "json"))
    if ablation is not None:
        found["contrasts"] = json.loads(render(_contrasts(long, ablation, split), "json"))
    return found | {"notes": footer(long, split, _alpha(ablation)).splitlines()}


def _as_text(experiment: Experiment, style: str, split: str, metrics: Sequence[str]) -> str:
    from avq.reporting import scaling
    from avq.reporting.footer import footer
    from avq.reporting.render import render
    from avq.reporting.tables import left_out, wide_table

    kind, width = cast("Format", style), room()
    long, ablation = experiment.long, experiment.ablation
    if scaling.has_points(long):
        heading = f"### {experiment.name}" if style == "markdown" else experiment.name
        return f"{heading}\n\n{scaling.show(long, cast('Any', style), width)}"
    question = f"\n{ablation.question}" if ablation is not None else ""
    heading = f"### {experiment.name}\n{question}" if style == "markdown" else experiment.name + question
    parts = [heading.rstrip(), render(wide_table(long, split, metrics), kind, width)]
    if ablation is not None:
        judged = _contrasts(long, ablation, split)
        parts += [render(judged, kind, width)] if len(judged) else []
    notes = footer(long, split, _alpha(ablation)).splitlines()
    more = left_out(long, split, metrics)
    notes += [f"Measured too, shown when asked for (table --metrics): {', '.join(more)}."] if more else []
    return "\n\n".join([*parts, "\n".join(f"- {note}" if style == "markdown" else note for note in notes)])


def _contrasts(part: pd.DataFrame, ablation: Ablation, split: str) -> pd.DataFrame:
    """The contrasts whose two rows are in the table, corrected over all that the ablation declares."""
    from avq.reporting.tables import contrast_table

    statistics = ablation.statistics
    judged = contrast_table(part, ablation.contrasts, statistics.alpha, statistics.margin, split)
    there = set(part["row"])
    return judged[judged["a"].isin(there) & judged["b"].isin(there)]


def _alpha(ablation: Ablation | None) -> float:
    return ablation.statistics.alpha if ablation is not None else 0.05


def room() -> int:
    """Characters a line: the terminal's, within reason."""
    return min(_WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _PIPED
