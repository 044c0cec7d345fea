"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "csv", "json", "markdown")


class Seeds(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """A number of seeds (``3`` for 0, 1, 2), or the seeds themselves (``0,4,7``; one alone as ``4,``)."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        text = str(value)
        try:
            numbers = [int(part) for part in text.split(",") if part.strip()]
        except ValueError:
            numbers = []
        if not numbers or min(numbers) < 0 or ("," not in text and numbers[0] == 0):
            self.fail(f"'{value}' is neither a number of seeds (3) nor seeds (0,4,7)", param, ctx)
        seeds = tuple(numbers) if "," in text else tuple(range(numbers[0]))
        if len(set(seeds)) < len(seeds):
            self.fail(f"'{value}' names a seed twice", param, ctx)
        return seeds


class Names(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """Names, divided by commas."""

    name = "name,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in _split_outside_brackets(str(value)) if part.strip())


def _split_outside_brackets(text: str) -> list[str]:
    """Split at commas, but for those inside a row's label such as ``aren-1[attention_dim=4,code_dim=64]``."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _read_settings(_ctx: click.Context, _param: click.Parameter, assignments: tuple[str, ...]) -> dict[str, Any]:
    from avq.design.settings import parse_assignments

    return parse_assignments(assignments)


def _load_plugins(ctx: click.Context, _param: click.Parameter, modules: tuple[str, ...]) -> tuple[str, ...]:
    if not ctx.resilient_parsing:
        from avq.plugins import load_plugins

        load_plugins(modules)
    return modules


def _register_cards(ctx: click.Context, _param: click.Parameter, folders: tuple[str, ...]) -> None:
    if folders and not ctx.resilient_parsing:
        from avq.data.cards import register_cards

        for folder in folders:
            register_cards(folder)


def _name_weights(ctx: click.Context, _param: click.Parameter, folder: Path | None) -> None:
    """What the environment names, every process that measures finds."""
    if folder is not None and not ctx.resilient_parsing:
        from avq.metrics.weights import ENVIRONMENT_VARIABLE

        os.environ[ENVIRONMENT_VARIABLE] = str(folder.absolute())


def _make_weights(ctx: click.Context, param: click.Parameter, folder: Path | None) -> None:
    """The same for what is to receive weights: a folder named on the command line is made."""
    if folder is not None and not ctx.resilient_parsing:
        folder.mkdir(parents=True, exist_ok=True)
    _name_weights(ctx, param, folder)


def _finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("it must be a finite number.")
    return value


def written(help: str, default: str | None = None) -> Callable[[F], F]:
    """`-o/--output`, the file that a command writes; required where it has no default."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        default=default,
        required=default is None,
        show_default=default is not None,
        help=help,
    )


max_side = click.option(
    "--max-side",
    type=click.IntRange(min=16),
    default=512,
    show_default=True,
    help="Shrink an image whose longer side exceeds this many pixels.",
)
weights_dir = click.option(
    "--weights-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    callback=_name_weights,
    expose_value=False,
    help="Folder with the weights that metrics need.  [default: $AVQ_WEIGHTS_DIR, then torch hub's cache]",
)
weights_target = click.option(
    "--weights-dir",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_make_weights,
    expose_value=False,
    help="Folder that takes the weights, made where needed.  [default: $AVQ_WEIGHTS_DIR, then torch hub's cache]",
)
allow_small = click.option(
    "--allow-small", is_flag=True, help="Give Fréchet distances of fewer images than they need, and mark them."
)
preset = click.option("--preset", metavar="NAME", help="Budget: smoke, small, full or paper.")
dataset = click.option("--dataset", metavar="NAME", help="Images to train and test on (avq-bench list datasets).")
cards = click.option(
    "--cards",
    multiple=True,
    metavar="DIR",
    callback=_register_cards,
    is_eager=True,
    expose_value=False,
    help="Folder with dataset cards of yours (TOML); repeatable.  [default: $AVQ_DATASETS]",
)
data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the datasets.  [default: $AVQ_DATA_ROOT, else the user's cache]",
)
output = click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("avq-runs"),
    show_default=True,
    help="Store: the folder that keeps runs, records and tables.",
)
device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
precision = click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default=None,
    help="Arithmetic of training; auto takes bfloat16 where this machine gains from it.  [default: auto]",
)
compile_model = click.option(
    "--compile",
    type=click.Choice(["auto", "on", "off"]),
    default=None,
    help="torch.compile in training; auto compiles where it was measured to pay.  [default: auto]",
)
seeds = click.option("--seeds", type=Seeds(), metavar="N|A,B,…", help="How many seeds (3), or which (0,4,7).")
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_read_settings,
    metavar="KEY=VALUE",
    help="Override a setting of model, training or data; repeatable (avq-bench list settings).",
)
only = click.option("--only", type=Names(), metavar="ROW,…", help="Only these rows of the ablation.")
plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    callback=_load_plugins,
    is_eager=True,
    help="Import a module or .py file that registers variants, metrics or quantizers of yours; repeatable.",
)
split = click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which images; nothing may be chosen on those of test.",
)
table_format = click.option(
    "--format", "style", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
)


def stacked(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


workers = click.option(
    "--workers", type=click.IntRange(min=1), help="Runs at once.  [default: one a core, or one a GPU]"
)
fresh = click.option("--fresh", is_flag=True, help="Train again what is finished.")
keep_stale = click.option(
    "--keep-stale", is_flag=True, help="Use runs of older code instead of training again, and mark them."
)
max_minutes = click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    metavar="M",
    help="Stop after M minutes, with what is in training kept (exit code 4); the same command goes on.",
)

executor = click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who carries runs out: this machine, or a Ray cluster whose nodes all see the store.",
)
address = click.option(
    "--address", metavar="HOST:PORT", help="Head of the Ray cluster.  [default: $RAY_ADDRESS, else this machine's]"
)
tensorboard = click.option(
    "--tensorboard", is_flag=True, help="Write curves and reconstructions of every training for TensorBoard."
)

#: What says which runs a variant becomes, and an ablation.
run_choice = stacked(
    preset, dataset, cards, data_root, seeds, settings, output, device, precision, compile_model, plugin
)  # fmt: skip
choice = stacked(only, run_choice)
#: How they are carried out.
execution = stacked(workers, executor, address, max_minutes, fresh, keep_stale, allow_small, tensorboard, weights_dir)
