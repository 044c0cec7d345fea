"""Which ablation declared an experiment's contrasts."""

from __future__ import annotations

from pathlib import Path

from avq.aliases import current_tree
from avq.design.ablation import Ablation, list_ablations, load_ablation
from avq.files import read_json


def ablation_of(results: str | Path, experiment: str) -> Ablation | None:
    """The ablation of an experiment: as the store has it, else the shipped one of that name, else None.

    Args:
        results: a store, an experiment's folder in it, or a file of long-form results.
        experiment: its name, such as `ablation_levels-small-cifar10`.
    """
    results = Path(results)
    for folder in (results / "experiments" / experiment, results):
        described = read_json(folder / "plan.json").get("ablation")
        if described is not None:
            return Ablation(**current_tree(described))
    shipped = [name for name in list_ablations() if experiment.startswith(f"{name}-")]
    return load_ablation(max(shipped, key=len)) if shipped else None
