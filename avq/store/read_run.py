"""Runs as their folders describe them, those of the first release among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avq.aliases import current_factory, current_settings
from avq.design.run import Run
from avq.errors import UsageError
from avq.files import read_json


def run_at(folder: Path) -> Run | None:
    """The run whose folder this is; None where none is described there that this release can read.

    Settings that are newer than the folder have their defaults. The first release wrote `config.json`, with its own
    way to name runs: they keep these names.
    """
    described = read_json(folder / "task.json")
    try:
        if described:
            return _run(described["settings"], described["code"], described["run"])
        config = read_json(folder / "config.json")
        return _run(config | {"images": config["fingerprint"]}, config["code"], folder.name) if config else None
    except (KeyError, TypeError, UsageError):
        return None


def _run(settings: Mapping[str, Any], code: str, name: str) -> Run:
    from avq.models.zoo import resolved_settings
    from avq.training.config import TrainConfig, effective

    factory = current_factory(settings["factory"])
    model = current_settings(settings["model"], factory)
    return Run(
        variant=settings["variant"],
        factory=factory,
        model=model if factory is not None else resolved_settings(model),
        data=settings["data"],
        images=settings["images"],
        train=effective(TrainConfig(**current_settings(settings["train"]))),
        seed=settings["seed"],
        code=code,
        stored_as=name,
    )
