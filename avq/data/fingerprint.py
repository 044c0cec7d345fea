"""The fingerprint of a run's data, from what identifies the files rather than from their pixels (torch-free)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from avq.data import cifar10, locate
from avq.data.cards import Card, get_card
from avq.data.config import DataConfig, resolve
from avq.data.decode import RULES
from avq.data.hashing import fingerprint_of_values
from avq.data.resize import FILTER
from avq.data.roots import resolve_root
from avq.data.synthetic import GENERATOR


def fingerprint(config: DataConfig, root: Path | None = None) -> str:
    """Sixteen hexadecimal digits that change whenever an image, a split or a size would.

    The files are verified, not decoded: well under a second for CIFAR-10. Where no data root is named and the files are
    not downloaded yet, the card's checksums stand for them. A prepared set is identified by its manifest.

    Raises:
        UsageError: unknown dataset, or a file that is missing, truncated or changed.
    """
    card, resolved = get_card(config.dataset), resolve(config)
    parts = {"config": asdict(resolved), "content": _content(card, root, resolved), "shares": card.shares}
    if not card.flip:
        parts["flip"] = False
    return fingerprint_of_values(parts)


def _content(card: Card, root: Path | None, resolved: DataConfig) -> Any:
    if card.kind == "synthetic-faces":
        return [GENERATOR, card.options]
    if card.kind == "folder":
        assert resolved.image_size is not None
        return [FILTER, RULES, locate.content_of(card, root, resolved.image_size)]
    where, named = resolve_root(root)
    if named or cifar10.is_there(card, where):
        cifar10.verify(card, where)
    return [FILTER, card.checksums]
