"""``avq-bench plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.output import print_rows

if TYPE_CHECKING:
    from avq.prediction import Prediction


@click.command()
@click.argument("ablation")
@options.choice
@options.workers
@options.table_format
def command(ablation: str, output: Path, device: str, workers: int | None, style: str, **chosen: Any) -> None:
    """Predict which runs ABLATION (a name or a .toml file) needs, and their time, memory and disk.

    Nothing is trained: a few steps of each distinct model are timed as the sweep would run them. The store remembers
    the timings, so that the next plan is immediate.

    \b
    Examples:
      avq-bench plan ablation_levels
      avq-bench plan ablation_levels --preset small --dataset cifar10 --data-root ../shared/data --seeds 5
    """
    import avq
    from avq.cli.progress import Lines
    from avq.cli.sweep import arguments
    from avq.execution.local import slots
    from avq.prediction import predict
    from avq.store.layout import Store
    from avq.training.precision import resolve_device

    place = resolve_device(device)
    source = Path(ablation) if ablation.endswith(".toml") else ablation
    plan = avq.plan(source, device=place, **arguments(chosen))
    prediction = predict(
        plan,
        Store(output),
        data_root=chosen["data_root"],
        device=place,
        devices=slots(place, workers),
        plugins=chosen["plugins"],
        on_event=Lines(),
    )
    rows = [
        {
            "row": entry.row.label,
            "seed": entry.run.seed,
            "seconds": round(prediction.runs[entry.run.name], 1) if entry.run.name in prediction.runs else None,
            "run": None if entry.row.label in prediction.untuned else entry.run.name,
            "state": _state(entry.run.name, prediction),
        }
        for entry in prediction.plan.entries
    ]
    print_rows(rows, style)
    click.echo(f"\n{summary(prediction)}", err=style != "table")


def _state(run: str, prediction: Prediction) -> str:
    if run in prediction.evaluated:
        return "to evaluate"
    return "to do" if run in prediction.runs else "finished"


def summary(prediction: Prediction) -> str:
    """What a plan takes, in a sentence or two."""
    from avq.cli.progress import seconds

    runs = len(prediction.plan.runs)
    todo = runs - prediction.finished
    if not todo:
        return f"All {runs} runs are finished; `run` only prints the table."
    again = len(prediction.evaluated)
    return (
        f"{todo} of {runs} runs to do, {prediction.workers} at once: about {seconds(prediction.seconds)}, "
        f"{prediction.memory / 1024:.1f} GiB of memory, {prediction.disk:.0f} MiB of disk."
        + (f" {again} of them are trained and only measured again." if again else "")
        + (" Runs get their names once their learning rates are chosen." if prediction.untuned else "")
    )
