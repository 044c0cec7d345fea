"""``avq-bench data check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import Row, print_rows

if TYPE_CHECKING:
    from avq.data.cards import Card


@click.command()
@click.argument("name", required=False)
@click.option("--size", type=int, help="Only the set of this size.  [default: all sizes]")
@options.cards
@options.data_root
@options.table_format
def check(name: str | None, size: int | None, data_root: Path | None, style: str) -> None:
    """Verify prepared sets against their manifests, and CIFAR-10 against its published checksums.

    Every file is read. The exit code is 1 where something is not as it was written.

    \b
    Examples:
      avq-bench data check
      avq-bench data check celebahq --size 256
    """
    from avq.data.cards import get_card, list_datasets
    from avq.data.prepared import prepared_sizes
    from avq.data.roots import resolve_root
    from avq.errors import AvqError, UsageError

    root, _ = resolve_root(data_root)
    rows: list[Row] = []
    for card in map(get_card, [name] if name else list_datasets()):
        sizes = [at for at in prepared_sizes(root, card.name) if size in (None, at)]
        if card.kind == "cifar10" and (root / card.folder).is_dir():
            sizes = [card.native_size]
        rows += [_checked(card, root, at) for at in sizes]
    if not rows:
        what = f"of {name}" + (f" at {size} pixels" if size else "") if name else "of any dataset"
        raise UsageError(f"nothing {what} is prepared in {root}")
    print_rows(rows, style)
    wrong = [row for row in rows if row["verdict"] != "good"]
    if wrong:
        raise AvqError(f"{len(wrong)} of {len(rows)} sets are damaged")


def _checked(card: Card, root: Path, size: int) -> Row:
    from avq.data import cifar10, prepared
    from avq.errors import AvqError

    row: dict[str, object] = {"dataset": card.name, "size": size, "images": sum(card.images.values()) or None}
    try:
        if card.kind == "cifar10":
            cifar10.verify(card, root)
        else:
            found = prepared.find_prepared(root, card, size)
            assert found is not None
            row["images"] = sum(found.counts.values())
            prepared.check(found)
    except AvqError as error:
        return row | {"verdict": str(error)}
    return row | {"verdict": "good"}
