"""Names of the first release that files and stores still have, and today's: the one table of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

SETTINGS = {
    "accumulate": "grad_accum_steps",
    "adversarial_start": "disc_start",
    "data_init": "kmeans_init",
    "dim": "code_dim",
    "filters": "attention_dim",
    "num_codes": "codebook_size",
    "r1": "r1_gamma",
    "restarts": "dead_code_reset",
    "trunk": "backbone",
}
METRICS = {"usage": "codebook-utilization"}
FACTORIES = {"avq.models.floor:PatchKMeans": "avq.models.patch_kmeans:PatchKMeans"}
_BEGINNINGS = {"quantisers.": "quantizers.", "loss-quantiser-": "loss-quantizer-"}  # of tensors and of losses
_IN_LABEL = re.compile(rf"(?<=[\[,])({'|'.join(SETTINGS)})(?==)")


def current_settings(settings: Mapping[str, Any], factory: str | None = None) -> dict[str, Any]:
    """Settings under today's names; those of a factory that is not the suite's are its own."""
    if factory is not None and not factory.startswith("avq."):
        return dict(settings)
    return {SETTINGS.get(name, name): value for name, value in settings.items()}


def current_factory(factory: str | None) -> str | None:
    """Today's name of a factory."""
    return FACTORIES.get(factory, factory) if factory else None


def current_label(label: str, own: Collection[str] = ()) -> str:
    """A row's label, such as `aren-1[code_dim=32]`, with today's names of settings; those of `own` stay."""
    return _IN_LABEL.sub(lambda found: found[0] if found[0] in own else SETTINGS[found[0]], label)


def current_tree(value: Any, own: Collection[str] = ()) -> Any:
    """An ablation file's content, or what describes a plan, with today's names of settings in keys and labels.

    Args:
        value: as TOML or JSON has it.
        own: settings of plug-ins, which stay.
    """
    if isinstance(value, Mapping):
        names = {name: name if name in own else SETTINGS.get(name, name) for name in value}
        return {now: current_tree(value[name], own) for name, now in names.items()}
    if isinstance(value, list):
        return [current_tree(part, own) for part in value]
    return current_label(value, own) if isinstance(value, str) else value


def current_name(name: str) -> str:
    """Today's name of a tensor or of a loss."""
    for before, now in _BEGINNINGS.items():
        if name.startswith(before):
            return name.replace(before, now, 1)
    return name
