"""What `run` and `train` share: execute an ablation, print its table, say where the files are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.errors import AvqError

if TYPE_CHECKING:
    import pandas as pd

    from avq.design.ablation import Ablation

_IMAGES_SHOWN = 8


def carry_out(ablation: Ablation, called: str, style: str, chosen: dict[str, Any]) -> None:
    """Run what is missing, print table and contrasts, and say where records, table and picture are.

    Args:
        ablation: what to run.
        called: the words that called it, such as ``run ablation_levels``.
        style: how to print the table.
        chosen: the options.

    Raises:
        Stopped: the time limit is reached; nothing is printed.
        AvqError: a run failed; the others are finished and in the table.
    """
    import avq
    from avq.cli.present import print_experiments
    from avq.cli.progress import showing_progress

    with showing_progress() as listener:
        long = avq.run(ablation, on_event=listener, **arguments(chosen))
    output, to_stderr = chosen["output"], style != "table"
    click.echo(err=True)
    folder = output / "experiments" / str(long["experiment"].iloc[0])
    whole = avq.load_results(folder) if (folder / "table.csv").is_file() else None  # also what earlier commands left
    print_experiments(long, lambda _name: ablation, style, whole=whole)
    pictures = _draw_reconstructions(long, output, folder, chosen["data_root"])
    say_where([("records", output / "runs"), ("table", folder / "table.csv"), *pictures], to_stderr)
    if chosen["preset"] in (None, "smoke") and chosen["dataset"] is None:
        _say_what_next(called, to_stderr)
    runs = set(long["run"]) - {""}  # costs that were measured for several runs have no name
    if chosen["tensorboard"]:
        _say_what_has_no_curves([output / "runs" / name for name in runs])
    failed = sorted(set(long.loc[long["status"] == "failed", "run"]))
    if failed:
        raise AvqError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; the same command tries them again"
        )


def say_what_is_to_do(ablation: Ablation, chosen: dict[str, Any]) -> None:
    """Plan and check as `carry_out` would, and print how many runs there are to train; errors as `avq.run`."""
    import avq
    from avq.metrics.weights import missing_weights
    from avq.store.layout import Store

    names = ("preset", "settings", "dataset", "data_root", "only", "seeds", "device", "plugins")
    plan = avq.plan(ablation, **{name: value for name, value in arguments(chosen).items() if name in names})
    store = Store(chosen["output"])
    missing = [run.name for run in plan.runs if chosen["fresh"] or not store.finished(run)]
    click.echo(f"{len(plan.rows)} rows, {len(plan.seeds)} seeds: {len(missing)} of {len(plan.runs)} runs to train")
    for line in [*missing, *filter(None, [missing_weights()])]:
        click.echo(f"  {line}")


def arguments(chosen: dict[str, Any]) -> dict[str, Any]:
    """Options as `avq.run` and `avq.plan` take them: `--precision` and `--compile` are settings of training."""
    rest = {name: value for name, value in chosen.items() if name not in ("precision", "compile")}
    training = {name: chosen[name] for name in ("precision", "compile") if chosen.get(name) is not None}
    return rest | {"preset": chosen["preset"] or "smoke", "settings": chosen["settings"] | training}


def say_where(places: list[tuple[str, Path]], to_stderr: bool) -> None:
    """List files and folders by what they are, below a table."""
    click.echo(err=to_stderr)
    for what, where in places:
        click.echo(f"{what:<9} {where}", err=to_stderr)


def _draw_reconstructions(
    long: pd.DataFrame, store: Path, folder: Path, data_root: Path | None
) -> list[tuple[str, Path]]:
    """A picture for each set of test images, with the reconstructions of each row; a sweep succeeds without it."""
    from avq.reporting.figures import reconstruction_grid
    from avq.reporting.samples import mean_errors, samples

    pictures = []
    try:
        sets = list(samples(long, store, data_root, _IMAGES_SHOWN))
        for one in sets:
            name = "reconstructions" + (f"-{one.dataset}-{one.image_size}px" if len(sets) > 1 else "") + ".png"
            pictures.append(("picture", reconstruction_grid(one.original, one.rows, folder / name, mean_errors(long))))
    except (AvqError, OSError) as error:
        click.echo(f"no picture of reconstructions: {error}", err=True)
        return []
    return pictures


def _say_what_has_no_curves(runs: list[Path]) -> None:
    from avq.store.layout import LOG
    from avq.tasks.watch import TENSORBOARD

    without = sum((run / LOG).exists() and not (run / TENSORBOARD).is_dir() for run in runs)
    if without:
        click.echo(f"{without} runs, finished earlier, have no TensorBoard files; --fresh trains them again", err=True)


def _say_what_next(called: str, to_stderr: bool) -> None:
    options = "--preset small --dataset cifar10 --data-root DIR"
    click.echo("\nSmoke shows that everything works, and no more. On real images:", err=to_stderr)
    if called.startswith("run "):
        click.echo(f"  avq-bench plan {called.removeprefix('run ')} {options}   # what that takes", err=to_stderr)
    click.echo(f"  avq-bench {called} {options}", err=to_stderr)
