"""Which ablation declared an experiment's contrasts."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from avq.design.ablation import Ablation, list_ablations, load_ablation
from avq.errors import UsageError
from avq.store.experiment import read_plan


def ablation_of(results: str | Path, experiment: str) -> Ablation | None:
    """The ablation of an experiment: as the store has it, else the shipped one of that name, else None.

    Args:
        results: a store, an experiment's folder in it, or a file of long-form results.
        experiment: its name, such as `ablation_levels-small-cifar10`.

    Raises:
        UsageError: the store's plan of it is damaged.
    """
    results = Path(results)
    for folder in (results / "experiments" / experiment, results):
        described = read_plan(folder, experiment).get("ablation")
        if described is not None:
            try:
                return Ablation(**described)
            except ValidationError:
                raise UsageError(f"{folder}: plan.json holds no ablation that this avq-bench can read.") from None
    shipped = [name for name in list_ablations() if experiment.startswith(f"{name}-")]
    return load_ablation(max(shipped, key=len)) if shipped else None
