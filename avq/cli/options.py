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
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE_OR_FOLDER = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """An option's text as a function reads it; the message of its ValueError is shown."""

    name = "text"

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def read_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas; an empty tuple if a part is not a number."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        return ()


def read_positive(text: str) -> tuple[int, ...]:
    """One whole number from 1, or several separated by commas."""
    numbers = read_numbers(text)
    if not numbers or min(numbers) < 1:
        raise ValueError(f"'{text}' is neither a positive whole number, nor several separated by commas")
    return numbers


def read_seeds(text: str) -> tuple[int, ...]:
    """A number of seeds (``3`` for 0, 1, 2), or the seeds themselves (``0,4,7``; a single one as ``4,``)."""
    from avq.design.plan import MOST_SEEDS

    numbers = read_numbers(text)
    if not numbers or min(numbers) < 0 or ("," not in text and numbers[0] == 0):
        raise ValueError(f"'{text}' is neither a number of seeds (3) nor a list of seeds (0,4,7)")
    if "," not in text and numbers[0] > MOST_SEEDS:
        raise ValueError(f"{numbers[0]:,} seeds are more than the {MOST_SEEDS:,} that one command trains")
    seeds = numbers if "," in text else tuple(range(numbers[0]))
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"'{text}' names a seed twice")
    return seeds


def read_names(text: str) -> tuple[str, ...]:
    """Names separated by commas, except those inside a row's label: ``aren-1[attention_dim=4,code_dim=64]``."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(part.strip() for part in parts if part.strip())


NAMES = Parsed(read_names)


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


def find_cards(ctx: click.Context, _param: click.Parameter, root: Path | None) -> Path | None:
    """Datasets that were prepared into a data root under names of their own are known by them."""
    if root is not None and not ctx.resilient_parsing:
        from avq.data.cards import own_folder, register_cards

        if (folder := own_folder(root)).is_dir():
            register_cards(folder)
    return root


def _name_weights(ctx: click.Context, _param: click.Parameter, folder: Path | None) -> None:
    """Put the folder into the environment, where every process that measures finds it."""
    if folder is not None and not ctx.resilient_parsing:
        from avq.metrics.weights import ENVIRONMENT_VARIABLE

        folder.mkdir(parents=True, exist_ok=True)
        os.environ[ENVIRONMENT_VARIABLE] = str(folder.absolute())


def _finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("it must be a finite number.")
    return value


def written(help: str, default: str | None = None) -> Callable[[F], F]:
    """`-o/--output`, the file that a command writes; required if it has no default."""
    return click.option("-o", "--output", type=FILE, default=default, required=default is None, help=help)


def formats(*styles: str, help: str = "How to print.") -> Callable[[F], F]:
    """`--format`, passed on as `style`."""
    return click.option("--format", "style", type=click.Choice(styles), default="table", help=help)


def stacked(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _plugin(expose: bool) -> Callable[[F], F]:
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="MODULE",
        callback=_load_plugins,
        is_eager=True,
        expose_value=expose,
        help="Import your own module or .py file that registers variants, metrics or quantizers; repeatable.",
    )


def _weights_dir(must_exist: bool, help: str) -> Callable[[F], F]:
    return click.option(
        "--weights-dir",
        type=click.Path(path_type=Path, file_okay=False, exists=must_exist),
        callback=_name_weights,
        expose_value=False,
        help=f"{help}  [default: $AVQ_WEIGHTS_DIR, then torch hub's cache]",
    )


plugin = _plugin(expose=False)
weights_dir = _weights_dir(must_exist=True, help="Folder with the weights that metrics need.")
weights_target = _weights_dir(must_exist=False, help="Folder to put the weights in; created if missing.")
table_format = formats(*FORMATS)
max_side = click.option(
    "--max-side",
    type=click.IntRange(min=16),
    default=512,
    help="Shrink an image whose longer side exceeds this many pixels.",
)
allow_small = click.option(
    "--allow-small", is_flag=True, help="Compute Fréchet distances even for too few images, and mark them."
)
evaluation_precision = click.option(
    "--evaluation-precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="Of the model in evaluation.  [default: float32 up to 64 px, above that bfloat16 where the hardware has it]",
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
    help="Folder with your own dataset cards (TOML); repeatable.  [default: $AVQ_DATASETS]",
)
data_root = click.option(
    "--data-root",
    type=FOLDER,
    callback=find_cards,
    help="Folder that holds the datasets.  [default: $AVQ_DATA_ROOT, else the user's cache]",
)
output = click.option(
    "--output", type=FOLDER, default=Path("avq-runs"), help="Store: the folder that holds runs, records and tables."
)
device = click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
precision = click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Arithmetic of training; auto uses bfloat16 if this machine benefits from it.  [default: auto]",
)
compile_model = click.option(
    "--compile",
    type=click.Choice(["auto", "on", "off"]),
    help="torch.compile in training; auto compiles where measurements showed a speedup.  [default: auto]",
)
seeds = click.option(
    "--seeds", type=Parsed(read_seeds), metavar="N|A,B,…", help="How many seeds (3), or which (0,4,7)."
)
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_read_settings,
    metavar="KEY=VALUE",
    help="Override a setting of model, training or data; repeatable (avq-bench list settings).",
)
only = click.option("--only", type=NAMES, metavar="ROW,…", help="Only these rows of the ablation.")
decoder_levels = click.option(
    "--decoder-levels",
    type=Parsed(read_positive),
    metavar="N,…",
    help="Levels (1 = finest) that the decoder sees.  [default: all]",
)
split = click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    help="Which images; never choose anything on those of test.",
)
workers = click.option("--workers", type=POSITIVE, help="Runs at once.  [default: one per core, or one per GPU]")
max_minutes = click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    metavar="M",
    help="Stop after M minutes and save unfinished training (exit code 4); the same command resumes.",
)

#: Which runs a variant, or an ablation, becomes.
run_choice = stacked(
    preset, dataset, cards, data_root, seeds, settings, output, device, precision, compile_model, _plugin(expose=True)
)  # fmt: skip
choice = stacked(only, run_choice)
#: How the runs are executed.
execution = stacked(
    workers,
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        help="What executes the runs: this machine, or a Ray cluster whose nodes all see the store.",
    ),
    click.option(
        "--address", metavar="HOST:PORT", help="Head of the Ray cluster.  [default: $RAY_ADDRESS, else this machine's]"
    ),
    max_minutes,
    click.option("--fresh", is_flag=True, help="Train finished runs again."),
    click.option("--keep-stale", is_flag=True, help="Use runs of older code instead of training again, and mark them."),
    allow_small,
    evaluation_precision,
    click.option(
        "--tensorboard", is_flag=True, help="Write curves and reconstructions of every training for TensorBoard."
    ),
    weights_dir,
)
