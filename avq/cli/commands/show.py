"""``avq-bench show``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avq.cli import options
from avq.cli.output import Row as Line
from avq.cli.output import cell, print_rows

if TYPE_CHECKING:
    from avq.design.ablation import Ablation
    from avq.design.rows import Row

EVERY_ROW = "(every row)"


@click.command()
@click.argument("name")
@options.stacked(options.preset, options.dataset, options.cards, options.only, options.settings, options.plugin)
@options.table_format
def command(
    name: str,
    preset: str | None,
    dataset: str | None,
    only: tuple[str, ...] | None,
    settings: dict[str, Any],
    plugins: tuple[str, ...],
    style: str,
) -> None:
    """Show all about NAME: a variant, ablation (or a file of one), dataset, preset, metric or setting.

    An ablation is shown with every value resolved and where it came from: the variant, the preset, the
    file, or --set.

    \b
    Examples:
      avq-bench show aren-1-rpa-mean
      avq-bench show ablation_levels --preset small --set codebook_size=128
    """
    from avq.cli.catalogue import KINDS, kind_of
    from avq.errors import UsageError

    kind = "ablations" if name.endswith(".toml") else kind_of(name)
    if kind == "ablations":
        _show_ablation(name, preset or "smoke", dataset, only, settings, style)
        return
    if preset or dataset or only or settings:
        raise UsageError(f"--preset, --dataset, --only and --set resolve an ablation; '{name}' is one of the {kind}")
    print_rows([{"key": key, "value": value} for key, value in KINDS[kind].details(name).items()], style)


def _show_ablation(
    name: str, preset: str, dataset: str | None, only: Sequence[str] | None, settings: dict[str, Any], style: str
) -> None:
    from avq.design.ablation import load_ablation
    from avq.design.plan import Choices, plan_rows
    from avq.design.presets import get_preset

    ablation = load_ablation(Path(name) if name.endswith(".toml") else name)
    rows = plan_rows(ablation, get_preset(preset), Choices(settings, dataset, only))
    if style == "table":
        _introduce(ablation, preset, rows)
    print_rows(_resolved(rows), style)


def _introduce(ablation: Ablation, preset: str, rows: Sequence[Row]) -> None:
    margin = ", ".join(f"{metric} {cell(value)}" for metric, value in ablation.statistics.margin.items())
    click.echo(f"{ablation.name}: {ablation.question}")
    click.echo(f"expected: {ablation.expected}\n")
    click.echo(f"rows with preset {preset}:")
    for row in rows:
        click.echo(f"  {row.label}" + (f"  ({row.note})" if row.note else ""))
    if ablation.contrasts:
        click.echo(f"contrasts (alpha {cell(ablation.statistics.alpha)}; as good as within: {margin or 'no margin'}):")
    for contrast in ablation.contrasts:
        click.echo(f"  {contrast.name}: {contrast.a} against {contrast.b}, {contrast.metric}")
    click.echo(f"rows have in common: {ablation.budget.match}\n")


def _resolved(rows: Sequence[Row]) -> list[Line]:
    """One line a setting where all rows agree, else one a row."""
    lines: list[Line] = []
    for name in dict.fromkeys(name for row in rows for name in row.settings):
        having = [(row.label, row.settings[name]) for row in rows if name in row.settings]
        labels = [label for label, _ in having]
        values = [setting for _, setting in having]
        variant_alone = all(value.origin.startswith("variant ") for value in values)
        alike = all(value.value == values[0].value for value in values) and (
            variant_alone or all(value.origin == values[0].origin for value in values)
        )
        if alike and len(labels) == len(rows):
            origin = "variant" if variant_alone else values[0].origin
            lines.append({"setting": name, "value": values[0].value, "from": origin, "row": EVERY_ROW})
        else:
            lines += [
                {"setting": name, "value": value.value, "from": value.origin, "row": label} for label, value in having
            ]
    return lines
