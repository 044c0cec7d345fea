"""The images of a run, loaded once a process: its training and its evaluation look at the same ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from avq.design.run import Run
from avq.design.task import canonical
from avq.errors import AvqError

if TYPE_CHECKING:
    from avq.data.sources import Dataset


def images_of(run: Run, data_root: Path | None) -> Dataset:
    """The dataset of a run.

    Raises:
        AvqError: the images are no longer those that the run was planned for.
        UsageError: as `avq.data.sources.load_dataset`.
    """
    return _loaded(canonical(dict(run.data)), run.images, data_root)


@lru_cache(maxsize=1)
def _loaded(settings: str, planned: str, data_root: Path | None) -> Dataset:
    import json

    from avq.data import sources
    from avq.data.config import DataConfig
    from avq.data.fingerprint import fingerprint

    config = DataConfig(**json.loads(settings))
    if fingerprint(config, data_root) != planned:
        raise AvqError(f"the images of {config.dataset} have changed since this was planned: give the command again.")
    return sources.load_dataset(config, data_root)
