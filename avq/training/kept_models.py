"""The models that a training keeps beside its last: the best by validation, and those of the latest points."""

from __future__ import annotations

import math
from pathlib import Path

from avq.models.tokenizer import Tokenizer
from avq.training.checkpoint import save_model
from avq.training.config import BEST_FILE, HISTORY_FOLDER


class KeptModels:
    """Writes models at validation points. Tables use the last checkpoint all the same.

    Args:
        folder: the run's; None keeps nothing.
        history: how many points' models are kept.
        best: the lowest validation MAE so far.
    """

    def __init__(self, folder: Path | None, history: int, best: float = math.inf) -> None:
        self._folder, self._history, self.best = folder, history, best

    def take(self, model: Tokenizer, step: int, error: float) -> None:
        """Keep the model of a point as far as it is to be kept.

        Args:
            model: as it was judged.
            step: how many steps it has.
            error: its validation MAE.
        """
        better = error < self.best
        self.best = min(error, self.best)
        if self._folder is None or model.recipe is None:  # without a recipe no file could say how to build it again
            return
        if better:
            save_model(model, self._folder / BEST_FILE)
        if self._history:
            folder = self._folder / HISTORY_FOLDER
            folder.mkdir(exist_ok=True)
            save_model(model, folder / f"step-{step:08d}.safetensors")
            for old in sorted(folder.glob("step-*.safetensors"))[: -self._history]:
                old.unlink()
