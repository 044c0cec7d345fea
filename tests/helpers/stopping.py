"""Trainings that are stopped at a step, as a kill would stop them: what they saved is all that is left."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from avq.training.trainer import OnProgress, Progress


class Stop(Exception):
    pass


def stopped_after(
    step: int, train: Callable[[OnProgress], object], loop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop a training at its report of that step; its module `loop` saves and reports after every one."""
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_REPORTS", 0.0)

    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise Stop

    with pytest.raises(Stop):
        train(stop)
