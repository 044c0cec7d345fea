"""Which ablation declared an experiment's contrasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avq.aliases import current_tree
from avq.design.ablation import Ablation, list_ablations, load_ablation
from avq.files import read_json


def read_plan(folder: Path) -> dict[str, Any]:
    """An experiment's plan.json, with today's names; empty where there is none."""
    plan = read_json(folder / "plan.json")
    return plan if "schema_version" in plan else dict(current_tree(plan))


def ablation_of(results: str | Path, experiment: str) -> Ablation | None:
    """The ablation of an experiment: as the store has it, else the shipped one of that name, else None.

    Args:
        results: a store, an experiment's folder in it, or a file of long-form results.
        experiment: its name, such as `ablation_levels-small-cifar10`.
    """
    results = Path(results)
    for folder in (results / "experiments" / experiment, results):
        described = read_plan(folder).get("ablation")
        if described is not None:
            return Ablation(**described)
    shipped = [name for name in list_ablations() if experiment.startswith(f"{name}-")]
    return load_ablation(max(shipped, key=len)) if shipped else None
