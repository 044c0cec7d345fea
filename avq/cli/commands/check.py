"""``avq-bench check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.errors import NotComparable, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from avq.reporting.cells import Check
    from avq.reporting.regression_output import Style

KINDS = ("added", "missing", "failed", "collapsed", "protocol", "timing")


def _read_kinds(text: str) -> tuple[str, ...]:
    names = options.read_names(text)
    for name in names:
        if name not in KINDS:
            raise ValueError(str(unknown("kind of finding", name, KINDS)))
    return names


@click.command()
@click.argument("results", type=options.FILE_OR_FOLDER)
@click.option(
    "--baseline",
    type=options.FILE_OR_FOLDER,
    required=True,
    help="Long-form results to compare with: a CSV, or an experiment's folder.",
)
@click.option(
    "--allow",
    type=options.Parsed(_read_kinds),
    default=(),
    metavar="KIND,…",
    help=f"Findings that do not fail: {', '.join(KINDS)}.",
)
@click.option("--update", is_flag=True, help="Make RESULTS the baseline, and show old and new values.")
@options.split
@options.formats("table", "json", "junit", "markdown")
@options.plugin
def command(results: Path, baseline: Path, allow: tuple[str, ...], update: bool, split: str, style: Style) -> None:
    """Check that RESULTS (a store or a long-form CSV) are no worse than a baseline.

    Parameters, MACs and other counts must be equal. Trained metrics are tested over seeds, one-sided towards worse,
    with one error rate for the whole table, so that a real loss fails the check and noise does not. Rows that are
    added, missing, failed or collapsed fail it unless allowed; costs are judged on the same machine only.

    Exit code: 0 good, 1 regressed, 2 wrong use, 3 not comparable.

    \b
    Examples:
      avq-bench check avq-runs --baseline results/cpu/ablation_levels-small-cifar10.csv
      avq-bench check avq-runs --baseline baseline.csv --allow added,timing --format markdown
      avq-bench check avq-runs --baseline baseline.csv --update
    """
    from avq import load_results
    from avq.cli.present import room
    from avq.reporting.regression import check
    from avq.reporting.regression_output import show
    from avq.reporting.values import unknown_metrics
    from avq.store.declared import ablation_of

    current = load_results(results)
    if update and not baseline.exists():
        _only_experiment(current, results)
        _write(baseline, current)
        click.echo(f"{baseline}: new baseline")
        return
    before = load_results(baseline)
    name = _only_experiment(before, baseline)
    now = current[current["experiment"] == name]
    if now.empty:
        there = ", ".join(map(str, current["experiment"].unique()))
        raise NotComparable(f"{results} does not hold the baseline's experiment {name}, but {there}.")
    ablation = ablation_of(results, name)
    statistics = ablation.statistics if ablation is not None else None
    found = check(
        before,
        now,
        alpha=statistics.regression_alpha if statistics else 0.01,
        margin=statistics.margin if statistics else None,
        split=split,
        allowed=allow,
    )
    click.echo(show(found, style, room()))
    for line in unknown_metrics(before, now):
        click.echo(line, err=True)
    if update:
        _update(found, baseline, now, to_stderr=style != "table")
    elif found.exit_code:
        click.get_current_context().exit(found.exit_code)


def _only_experiment(long: pd.DataFrame, path: Path) -> str:
    names = list(map(str, long["experiment"].unique()))
    if not names:
        raise UsageError(f"{path} holds no records.")
    if len(names) > 1:
        raise UsageError(f"{path} holds {len(names)} experiments, a baseline has one: {', '.join(names)}.")
    return names[0]


def _update(found: Check, baseline: Path, now: pd.DataFrame, to_stderr: bool) -> None:
    from avq.cli.present import room
    from avq.reporting.regression_output import changes
    from avq.reporting.render import text_table

    differ = changes(found)
    _write(baseline, now)
    click.echo(f"\n{baseline}: new baseline; {len(differ)} cells changed", err=to_stderr)
    if len(differ):
        click.echo("\n" + text_table(differ, "table", room()), err=to_stderr)


def _write(baseline: Path, long: pd.DataFrame) -> None:
    from avq.files import write_atomic
    from avq.store.record import to_csv

    if baseline.suffix != ".csv":
        raise UsageError(f"--update writes a long-form .csv, which {baseline} is not.")
    write_atomic(baseline, to_csv(long))
