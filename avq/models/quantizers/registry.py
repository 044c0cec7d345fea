"""The quantizers by name. Torch-free: each is imported when a model with it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avq.errors import UsageError
from avq.models.config import MODEL_SETTINGS
from avq.registry import Registry


@dataclass(frozen=True)
class QuantizerEntry:
    """A quantizer of the registry.

    Attributes:
        summary: one line for `avq-bench list quantizers`.
        factory: "package.module:callable", called as `factory(config, **settings)` for each level.
        reads: settings of the family that this quantizer reads and some others do not.
        settings: its own settings, with their defaults.
    """

    summary: str
    factory: str
    reads: tuple[str, ...]
    settings: Mapping[str, Any]


QUANTIZERS: Registry[QuantizerEntry] = Registry(
    "quantizer",
    "`avq-bench list quantizers` shows all; a plug-in's needs --plugin.",
    built_in=["avq.models.quantizers.built_in"],
)


def register_quantizer(name: str, factory: str, summary: str, reads: Sequence[str] = (), **settings: Any) -> None:
    """Add a quantizer, a new value of the setting `quantizer`.

    Args:
        name: what the user types.
        factory: "package.module:callable" that builds a `Quantizer`, called as `factory(config, **settings)` with the
            model's `AutoencoderConfig`, whose `code_dim` it may read, and what it names in `reads`.
        summary: one line for `avq-bench list quantizers`.
        reads: those of the family's settings that it reads and some other quantizer does not, such as `codebook_size`.
        **settings: its own settings with their defaults, which may be lists of numbers.

    Raises:
        UsageError: the name is taken, or one of its own settings has the name of one of the family's.
    """
    for own in MODEL_SETTINGS.keys() & settings.keys():
        raise UsageError(f"quantizer '{name}': {own} is a setting of every model; read it from the config.")
    QUANTIZERS.register(name, QuantizerEntry(summary, factory, tuple(reads), settings))


def quantizer_settings() -> set[str]:
    """The settings that some but not all quantizers read."""
    return {name for entry in QUANTIZERS.values() for name in (*entry.reads, *entry.settings)}
