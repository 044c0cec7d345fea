"""Folders that travel with the package: data-set cards, ablation files, the shipped checkpoint (torch-free)."""

from __future__ import annotations

from pathlib import Path

from avq.errors import AvqError

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """Return the folder that holds the shipped ``name`` files.

    A wheel carries the folder inside the package as ``avq/_<name>``; a checkout (or an editable install, which
    imports from the checkout) has it beside the package as ``<name>/``. Beside an installed package that name may
    belong to another library (``datasets``), so it counts only where ``pyproject.toml`` marks a checkout.

    Args:
        name: ``"datasets"``, ``"ablations"`` or ``"checkpoints"``.

    Raises:
        AvqError: the installation holds no such folder.
    """
    packaged = _PACKAGE / f"_{name}"
    if packaged.is_dir():
        return packaged
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise AvqError(f"this installation lacks its {name} folder (looked beside {_PACKAGE}): reinstall avq-bench")
