"""Runs as their folders describe them, those of the first release among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avq.aliases import current_factory, current_settings
from avq.design.run import Run
from avq.design.task import fingerprint_of
from avq.errors import UsageError
from avq.files import read_json


def run_at(folder: Path) -> Run | None:
    """The run whose folder this is; None where none is described there that this release can read.

    Settings that are newer than the folder have the value that was in force before them. The first release wrote
    `config.json`, with its own way to name runs: they keep these names.
    """
    try:
        if (folder / "task.json").exists():
            described = read_json(folder / "task.json", checked=True)
            return _run(described["settings"], described["code"], described["run"])
        config = read_json(folder / "config.json")
        content = {name: config[name] for name in ("factory", "model", "data", "fingerprint", "train", "seed")}
        own = fingerprint_of({"config": fingerprint_of(content), "code": config["code"]})
        whole = own == config["id"] and folder.name == config["run"]
        return _run(_of_today(config), config["code"], folder.name) if whole else None
    except (KeyError, TypeError, UsageError):
        return None


def _of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """The first release's config.json with today's names."""
    factory = current_factory(config["factory"])
    model, train = current_settings(config["model"], factory), current_settings(config["train"])
    return {**config, "factory": factory, "model": model, "train": train, "images": config["fingerprint"]}


def _run(settings: Mapping[str, Any], code: str, name: str) -> Run:
    from avq.fields import unstated
    from avq.models.config import AutoencoderConfig
    from avq.models.zoo import resolved_settings
    from avq.training.config import TrainConfig, effective

    factory, model = settings["factory"], settings["model"]
    return Run(
        variant=settings["variant"],
        factory=factory,
        model=model if factory is not None else resolved_settings({**unstated(AutoencoderConfig), **model}),
        data=settings["data"],
        images=settings["images"],
        train=effective(TrainConfig(**{**unstated(TrainConfig), **settings["train"]})),
        seed=settings["seed"],
        code=code,
        stored_as=name,
    )
