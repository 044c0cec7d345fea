"""The command ``avq-bench``: a group that imports a command only when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import importlib

import click

from avq import __version__
from avq.cli.boundary import reporting_errors

#: Command -> its line in ``--help``. A command ``x`` is ``avq.cli.commands.x:command``.
COMMANDS = {
    "list": "List variants, quantizers, ablations, datasets, presets, metrics, settings or weights.",
    "show": "Show one variant, quantizer, ablation, dataset, preset, metric or setting.",
    "plan": "Predict the runs, time, memory and disk that an ablation needs, before training.",
    "run": "Train every run of an ablation that is not finished yet, then print its table.",
    "train": "Train one variant without an ablation file.",
    "table": "Print the table of a store or of a long-form CSV.",
    "scale": "Measure how memory and time of attention, and of whole variants, grow with the latent size.",
    "check": "Check that results are no worse than a baseline; a gate for CI.",
    "evaluate": "Measure a checkpoint, or any Python object with encode and decode, on a dataset's images.",
    "score": "Measure reconstructions by any tool against their originals.",
    "rate": "Measure what any tokenizer's codes cost in learned bits, by priors of one size and budget.",
    "sample": "Draw images from a prior over a tokenizer's codes.",
    "weights": "Fetch, add or check the weights of the networks that metrics use.",
    "report": "Write a report on results as an executed notebook and as one HTML page.",
    "reconstruct": "Draw images beside their reconstructions by a tokenizer.",
    "attend": "Draw what a checkpoint's attention attends to from pixels of an image.",
    "profile": "Profile a training step, part by part.",
    "status": "Show the state of every run in a store, also from another terminal.",
    "data": "Fetch, prepare, check and view datasets.",
    "doctor": "Check this machine and installation, and say how to fix problems.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules of ``avq.cli.commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"avq.cli.commands.{cmd_name}")
        command: click.Command = module.command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            from avq.errors import unknown

            raise click.UsageError(str(unknown("command", name, COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        with reporting_errors(ctx, debug=bool(ctx.params["debug"])):
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
    epilog="Begin with: avq-bench run ablation_levels",
)
@click.version_option(__version__, prog_name="avq-bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Ablations of vector-quantised image tokenizers: what a change buys, what it costs, and how sure that is."""
