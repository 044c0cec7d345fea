"""Presets: named budgets, read from `presets.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from avq.errors import unknown


@dataclass(frozen=True)
class Preset:
    """A budget: how many seeds, which rows of an ablation, and settings below the ablation's own.

    Attributes:
        name: what people type.
        summary: one line.
        seeds: how many seeds a row gets where the user names none.
        smoke_rows: only the rows that the ablation lists under `smoke`.
        tune: whether an ablation's `[tune]` is carried out.
        settings: values that stand above the variants' defaults and below the ablation file's.
    """

    name: str
    summary: str
    seeds: int
    smoke_rows: bool
    tune: bool
    settings: dict[str, Any]


@cache
def _table() -> dict[str, Preset]:
    raw = tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))
    return {name: Preset(name, **values) for name, values in raw.items()}


def list_presets() -> list[str]:
    """Names of the presets, cheapest first."""
    return list(_table())


def get_preset(name: str) -> Preset:
    """The preset of that name; UsageError (with a suggestion) where there is none."""
    if name not in _table():
        raise unknown("preset", name, _table())
    return _table()[name]
