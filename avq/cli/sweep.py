"""What `run` and `train` share: carry an ablation out on the screen, print its table, say where things lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.errors import AvqError

if TYPE_CHECKING:
    import pandas as pd

    from avq.design.ablation import Ablation


@dataclass(frozen=True)
class Request:
    """The options of `run` and `train`, as click names them."""

    preset: str | None
    dataset: str | None
    data_root: Path | None
    only: Sequence[str] | None
    seeds: Sequence[int] | None
    settings: dict[str, Any]
    output: Path
    device: str
    precision: str | None
    compile: str | None
    plugins: tuple[str, ...]
    workers: int | None
    fresh: bool
    keep_stale: bool
    allow_small: bool
    executor: str
    address: str | None
    tensorboard: bool
    max_minutes: float | None


def carry_out(ablation: Ablation, request: Request, style: str, called: str) -> None:
    """Run what is missing, print table and contrasts, and say where records, table and picture lie.

    Args:
        ablation: what to run.
        request: the options.
        style: how to print the table.
        called: the words that called it, such as ``run ablation_levels``.

    Raises:
        Stopped: the time that was given is over; nothing is printed.
        AvqError: a run failed; the others are finished and in the table.
    """
    import avq
    from avq.cli.present import experiments_of, print_experiments
    from avq.cli.progress import showing_progress

    with showing_progress() as listener:
        long = avq.run(
            ablation,
            preset=request.preset or "smoke",
            dataset=request.dataset,
            data_root=request.data_root,
            only=request.only,
            seeds=request.seeds,
            settings=with_training(request.settings, precision=request.precision, compile=request.compile),
            output=request.output,
            device=request.device,
            workers=request.workers,
            fresh=request.fresh,
            keep_stale=request.keep_stale,
            allow_small=request.allow_small,
            plugins=request.plugins,
            executor=request.executor,
            address=request.address,
            tensorboard=request.tensorboard,
            max_minutes=request.max_minutes,
            on_event=listener,
        )
    click.echo(err=True)
    print_experiments(experiments_of(long, lambda _name: ablation), style)
    _say_where(long, request, to_stderr=style != "table")
    if request.preset in (None, "smoke") and request.dataset is None:
        _say_how_to_go_on(called, to_stderr=style != "table")
    if request.tensorboard:
        _say_what_has_no_curves(long, request.output / "runs")
    failed = _failed_runs(long)
    if failed:
        raise AvqError(
            f"{len(failed)} of {len(_runs(long))} runs failed: {', '.join(failed)}; the same command tries them again"
        )


def with_training(settings: dict[str, Any], **options: str | None) -> dict[str, Any]:
    """`--precision` and `--compile` are the training settings of these names."""
    return settings | {name: value for name, value in options.items() if value is not None}


def _failed_runs(long: pd.DataFrame) -> list[str]:
    failed = long[long["status"] == "failed"]
    return sorted(set(failed["run"]))


def _runs(long: pd.DataFrame) -> set[str]:
    """The names of the runs; costs that were measured for several have none."""
    return set(long["run"]) - {""}


def _say_what_has_no_curves(long: pd.DataFrame, runs: Path) -> None:
    from avq.store.layout import LOG
    from avq.tasks.watch import TENSORBOARD

    trained = [name for name in _runs(long) if (runs / name / LOG).exists()]
    without = sum(not (runs / name / TENSORBOARD).is_dir() for name in trained)
    if without:
        click.echo(
            f"no TensorBoard files of {without} runs that were finished before; --fresh trains them anew", err=True
        )


def _say_where(long: pd.DataFrame, request: Request, to_stderr: bool) -> None:
    """Name the places of records, table and pictures; a table is worth having without its picture."""
    from avq.cli.gallery import draw_reconstructions

    folder = request.output / "experiments" / str(long["experiment"].iloc[0])
    places = [("records", request.output / "runs"), ("table", folder / "table.csv")]
    try:
        pictures = draw_reconstructions(long, request.output, folder, request.data_root)
        places += [("picture", picture) for picture in pictures]
    except (AvqError, OSError) as error:
        click.echo(f"no picture of reconstructions: {error}", err=True)
    click.echo(err=to_stderr)
    for what, where in places:
        click.echo(f"{what:<9} {where}", err=to_stderr)


def _say_how_to_go_on(called: str, to_stderr: bool) -> None:
    options = "--preset small --dataset cifar10 --data-root DIR"
    click.echo("\nSmoke shows that everything works, and no more. On real images:", err=to_stderr)
    if called.startswith("run "):
        click.echo(f"  avq-bench plan {called.removeprefix('run ')} {options}   # what that takes", err=to_stderr)
    click.echo(f"  avq-bench {called} {options}", err=to_stderr)
