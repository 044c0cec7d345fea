"""``avq-bench profile``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.output import Row, print_rows

if TYPE_CHECKING:
    from avq.profiling.profile import Profile


@click.command()
@click.argument("variant")
@options.stacked(options.preset, options.dataset, options.cards, options.data_root, options.settings)
@options.stacked(options.device, options.precision, options.plugin)
@click.option("--steps", type=click.IntRange(min=2), default=10, help="Steps to time.")
@click.option(
    "--trace",
    type=options.FILE,
    default=Path("avq-profile.json"),
    help="Where to write torch.profiler's trace (open it in Perfetto).",
)
@options.table_format
def command(
    variant: str, data_root: Path | None, device: str, steps: int, trace: Path, style: str, **chosen: Any
) -> None:
    """Profile a training step of VARIANT, part by part, against the machine's measured peaks.

    A part is forward and backward together. "of peak" is the time that each operation's FLOPs or bytes would need at
    the measured peaks of a matrix product and of a copy, over the time taken; it exceeds 100 if data come from the
    cache. Only convolutions and matrix products count as FLOPs. The last line says how much of a step is outside
    convolutions (with bias, activation and residual sum), attention, quantizer and optimiser, without and with the
    casts between float32 and bfloat16 in encoder and decoder. Nothing else should run on the machine meanwhile.

    \b
    Examples:
      avq-bench profile aren-1
      avq-bench profile aren-2-rpa-mean --preset small --dataset cifar10 --data-root ../shared/data
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch's tracer is loaded
    import avq
    from avq.cli.sweep import arguments
    from avq.data.config import DataConfig
    from avq.data.loader import Batches
    from avq.data.sources import load_dataset
    from avq.design.ablation import Ablation
    from avq.errors import UsageError
    from avq.profiling.profile import profile_step
    from avq.training.config import TrainConfig
    from avq.training.fresh import fresh_model
    from avq.training.precision import resolve_device
    from avq.training.step import TrainStep

    alone = Ablation(name=f"profile_{variant}", question="", expected="", rows=[{"variant": variant}])
    place = resolve_device(device)
    (run,) = avq.plan(alone, data_root=data_root, seeds=(0,), device=place, **arguments(chosen)).runs
    model = fresh_model(run.recipe, run.seed)
    if model.is_baseline:
        raise UsageError(f"{variant} is fitted, not trained: it has no training step to profile.")
    config = TrainConfig(**run.train)
    data = load_dataset(DataConfig(**run.data), data_root)
    batches = Batches(data.train, config.batch_size, 0, data.card.flip)
    step = TrainStep(model.train(), config, place, variant)
    found = profile_step(step, batches.batch, steps, trace)
    print_rows(_rows(found), style)
    click.echo(_summary(found, config.batch_size, place), err=style != "table")
    click.echo(f"trace {trace}", err=style != "table")


def _rows(found: Profile) -> list[Row]:
    moved = sum(spent.bytes for spent in found.parts.values())
    return [
        {
            "part": part,
            "time %": round(100 * found.share(part), 1),
            "ms": round(1000 * spent.seconds, 2),
            "bytes %": round(100 * spent.bytes / moved, 1),
            "MB": round(spent.bytes / 1e6, 1),
            "GFLOP": round(spent.flops / 1e9, 2),
            "GFLOP/s": round(spent.flops / spent.seconds / 1e9, 1) if spent.flops else None,
            "GB/s": round(spent.bytes / spent.seconds / 1e9, 1) if spent.bytes else None,
            "of peak %": None if (peak := found.of_peak(part)) is None else round(100 * peak, 1),
        }
        for part, spent in found.parts.items()
    ]


def _summary(found: Profile, batch_size: int, device: str) -> str:
    import torch

    on = f"{torch.get_num_threads()} threads" if device == "cpu" else device
    return (
        f"\nA step of {batch_size} images takes {1000 * found.step:.1f} ms ({on}, {found.precision}); measured peaks "
        f"{found.peaks.float32 / 1e9:.0f} GFLOP/s in float32, {found.peaks.bfloat16 / 1e9:.0f} in bfloat16, and "
        f"{found.peaks.bytes / 1e9:.1f} GB/s.\n"
        f"{100 * found.outside_share:.1f} % lies outside convolutions with their activations and residual sums, "
        f"attention, quantizer and optimiser; with the casts for bfloat16 convolutions it is "
        f"{100 * (found.outside_share + found.casts_share):.1f} %."
    )
