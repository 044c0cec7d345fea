"""The images of a run, loaded once a process: its training and its evaluation look at the same ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from avq.design.run import Run
from avq.design.task import canonical

if TYPE_CHECKING:
    from avq.data.sources import Dataset


def images_of(run: Run, data_root: Path | None) -> Dataset:
    """The dataset of a run. Errors as `avq.data.sources.load_dataset`."""
    return _loaded(canonical(dict(run.data)), data_root)


@lru_cache(maxsize=1)
def _loaded(settings: str, data_root: Path | None) -> Dataset:
    import json

    from avq.data import sources
    from avq.data.config import DataConfig

    return sources.load_dataset(DataConfig(**json.loads(settings)), data_root)
