"""Named entries that the suite's own modules and plug-ins add to: variants, quantizers, metrics."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from avq.errors import UsageError, unknown

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Entries by name, in the order of their registration.

    Args:
        kind: what an entry is, such as "variant"; for errors.
        hint: what to do about an unknown name; by default the names are listed.
        built_in: modules that register the suite's own entries, imported when someone first looks.
    """

    def __init__(self, kind: str, hint: str = "", built_in: Sequence[str] = ()) -> None:
        self.kind, self.hint = kind, hint
        self._built_in = list(built_in)
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> None:
        """Add an entry; UsageError where the name is taken."""
        if name in self:  # the suite's own come first
            raise UsageError(f"{self.kind} '{name}' is registered already; choose another name.")
        self._entries[name] = entry

    def find(self, name: str) -> T:
        """The entry of that name; UsageError, with the nearest name suggested, where there is none."""
        if name not in self:
            raise unknown(self.kind, name, self, self.hint)
        return self[name]

    def __getitem__(self, name: str) -> T:
        return self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[str, T]:
        while self._built_in:
            importlib.import_module(self._built_in.pop(0))
        return self._entries


def load(path: str, of: str) -> Any:
    """What "package.module:attribute" names, imported when it is needed.

    Args:
        path: the name.
        of: what names it, such as "variant 'mine'"; for errors.

    Raises:
        UsageError: it cannot be imported.
    """
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{of} names '{path}', which cannot be imported: {error}.") from error
