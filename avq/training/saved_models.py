"""The models that a training saves beside its last: the best, and those of the latest validation steps."""

from __future__ import annotations

import math
from pathlib import Path

from avq.models.tokenizer import Tokenizer
from avq.training.checkpoint import save_model
from avq.training.config import BEST_FILE, HISTORY_FOLDER


class SavedModels:
    """Saves models at validation steps: the best, and the latest `history`, in the run's `folder`, if there is one.

    Tables use the last checkpoint all the same. `best` is the lowest validation MAE so far.
    """

    def __init__(self, folder: Path | None, history: int) -> None:
        self._folder, self._history, self.best = folder, history, math.inf

    def forget(self) -> None:
        """Remove the latest models of an earlier training in the folder: their higher steps would pass for newer."""
        for old in (self._folder / HISTORY_FOLDER).glob("step-*.safetensors") if self._folder else ():
            old.unlink()

    def save(self, model: Tokenizer, step: int, error: float) -> None:
        """Save the model of a validation step as far as it is wanted; `error` is its validation MAE."""
        better = error < self.best
        self.best = min(error, self.best)
        if self._folder is None or model.recipe is None:  # without a recipe the file could not be loaded
            return
        if better:
            save_model(model, self._folder / BEST_FILE)
        if self._history:
            folder = self._folder / HISTORY_FOLDER
            folder.mkdir(exist_ok=True)
            save_model(model, folder / f"step-{step:08d}.safetensors")
            for old in sorted(folder.glob("step-*.safetensors"))[: -self._history]:
                old.unlink()
