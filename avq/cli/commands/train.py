"""``avq-bench train``."""

from __future__ import annotations

from typing import Any

import click

from avq.cli import options


@click.command()
@click.argument("variant")
@options.run_choice
@options.execution
@options.table_format
def command(variant: str, style: str, **chosen: Any) -> None:
    """Train one VARIANT without an ablation file, and print its row.

    The run goes into the same store, where an ablation that needs it finds it.

    \b
    Examples:
      avq-bench train aren-1-rpa-mean
      avq-bench train vqvae --preset small --dataset cifar10 --data-root ../shared/data --set codebook_size=256
    """
    from avq.cli.sweep import carry_out
    from avq.design.ablation import Ablation
    from avq.models.zoo import variant_entry

    question = f"How good is {variant} ({variant_entry(variant).summary})?"
    alone = Ablation(name=f"train_{variant}", question=question, expected="", rows=[{"variant": variant}])
    carry_out(alone, f"train {variant}", style, chosen)
