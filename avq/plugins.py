"""Modules of users and of installed packages that register variants, quantizers, metrics or dataset cards."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from avq.errors import UsageError

GROUPS = ("avq.plugins", "avq.variants")
"""Entry point groups whose modules are imported; the second is that of the first release."""


def load_plugins(modules: Sequence[str] = ()) -> tuple[str, ...]:
    """Import the plug-ins of installed packages, then those named.

    Args:
        modules: names, or paths of files that end in `.py`; a module in the current folder is found too, as with
            `python -m`.

    Returns:
        All that were imported, as another process can import them.

    Raises:
        UsageError: a module cannot be imported.
    """
    installed = [point.value.partition(":")[0] for group in GROUPS for point in entry_points(group=group)]
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    named = [str(Path(module).absolute()) if module.endswith(".py") else module for module in modules]
    loaded = tuple(dict.fromkeys([*installed, *named]))
    for module in loaded:
        load_plugin(module)
    return loaded


def load_plugin(module: str) -> None:
    """Import a module by its name or its file; UsageError where it cannot be imported."""
    name = module
    if module.endswith(".py"):
        if not Path(module).is_file():
            raise UsageError(f"there is no plugin file {module}.")
        folder, name = str(Path(module).parent), Path(module).stem
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a user's module raises while it is imported
        reason = str(error).rstrip(".")
        raise UsageError(f"plugin '{module}' cannot be imported: {type(error).__name__}: {reason}.") from error
