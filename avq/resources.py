"""Folders that ship with the package: dataset cards, ablation files, the checkpoint, the weights (torch-free)."""

from __future__ import annotations

from pathlib import Path

from avq.errors import AvqError

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """The folder of the shipped files called ``"datasets"``, ``"ablations"``, ``"checkpoints"`` or ``"weights"``.

    A wheel has it inside the package as ``avq/_<name>``; a checkout (or an editable install) beside the package as
    ``<name>/``. Beside an installed package that name may belong to another library (``datasets``), so it counts only
    where ``pyproject.toml`` marks a checkout.

    Raises:
        AvqError: the installation lacks that folder.
    """
    packaged = _PACKAGE / f"_{name}"
    if packaged.is_dir():
        return packaged
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise AvqError(f"this installation lacks its {name} folder (looked beside {_PACKAGE}): reinstall avq-bench")
