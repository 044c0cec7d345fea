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
    style: str,
) -> None:
    """Show everything about NAME: a variant, ablation (or its file), quantizer, dataset, preset, metric or setting.

    An ablation is shown with every setting's resolved value and its origin: the variant, the preset, the file, or
    --set.

    \b
    Examples:
      avq-bench show aren-1-rpa-mean
      avq-bench show ablation_levels --preset small --set codebook_size=128
    """
    from avq.cli.catalogue import find
    from avq.errors import UsageError

    kind, details = ("ablations", {}) if name.endswith(".toml") else find(name)
    if kind == "ablations":
        _show_ablation(name, preset or "smoke", dataset, only, settings, style)
        return
    if preset or dataset or only or settings:
        raise UsageError(f"--preset, --dataset, --only and --set resolve an ablation; '{name}' is one of the {kind}")
    print_rows([{"key": key, "value": value} for key, value in details.items()], style)


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
    """One line per setting if all rows agree, else one per row."""
    lines: list[Line] = []
    for name in dict.fromkeys(name for row in rows for name in row.settings):
        having = [(row.label, row.settings[name]) for row in rows if name in row.settings]
        first = having[0][1]
        variant_alone = all(setting.origin.startswith("variant ") for _, setting in having)
        alike = all(
            setting.value == first.value and (variant_alone or setting.origin == first.origin) for _, setting in having
        )
        if alike and len(having) == len(rows):
            origin = "variant" if variant_alone else first.origin
            lines.append({"setting": name, "value": first.value, "from": origin, "row": "(every row)"})
        else:
            lines += [
                {"setting": name, "value": value.value, "from": value.origin, "row": label} for label, value in having
            ]
    return lines
