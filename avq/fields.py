"""Fields of settings: what each is for, and the value that a fingerprint leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

_SAME = object()


def setting(default: Any, help: str, unstated: Any = _SAME) -> Any:
    """A field of a dataclass of settings.

    Args:
        default: its value where nobody gives one.
        help: a line about it.
        unstated: the value that a fingerprint does not state; the default, but for a setting whose default was changed:
            then the one before, so that what was made with it is still known by the same fingerprint.
    """
    return field(default=default, metadata={"help": help, "unstated": default if unstated is _SAME else unstated})


def unstated(kind: type) -> dict[str, Any]:
    """What a fingerprint leaves unstated, for a dataclass of `setting` fields: in force before they were there."""
    return {one.name: one.metadata["unstated"] for one in fields(kind)}


def departures(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that depart from what a fingerprint leaves unstated, for a dataclass of `setting` fields."""
    left = unstated(kind)

    def departs(name: str, value: Any) -> bool:  # True is no 1
        return name not in left or value != left[name] or type(value) is not type(left[name])

    return {name: value for name, value in values.items() if departs(name, value)}
