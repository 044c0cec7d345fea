"""Variants that are not the suite's own: modules named by ``--plugin``, and those of installed packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points


def load_plugins(modules: Sequence[str]) -> None:
    """Import modules that register variants, so that every command knows them.

    A module in the current folder is found too, as with ``python -m``.

    Raises:
        UsageError: a module cannot be imported.
    """
    if not modules and not entry_points(group="avq.variants"):
        return  # the usual case, which must not cost an import of torch
    from avq.models.zoo import load_entry_points, load_plugin

    load_entry_points()
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    for module in modules:
        load_plugin(module)
