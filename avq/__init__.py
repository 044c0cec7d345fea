"""avq-bench: what a change to a VQ-VAE buys, what it costs, and how sure that is.

Everything here is loaded when it is first used, so that ``import avq`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avq.data.cards import list_datasets, register_cards
    from avq.models.zoo import create_variant, list_variants
    from avq.results import load_results
    from avq.run_status import status
    from avq.scale_sweep import scale
    from avq.sweep import plan, run
    from avq.training.checkpoint import load_model
    from avq.training.hub import PretrainedTokenizer

__version__ = "0.1.0.dev0"

__all__ = [
    "PretrainedTokenizer",
    "create_variant",
    "list_datasets",
    "list_variants",
    "load_model",
    "load_results",
    "plan",
    "register_cards",
    "run",
    "scale",
    "status",
]

_HOME = {
    "PretrainedTokenizer": "avq.training.hub",
    "create_variant": "avq.models.zoo",
    "list_datasets": "avq.data.cards",
    "list_variants": "avq.models.zoo",
    "load_model": "avq.training.checkpoint",
    "load_results": "avq.results",
    "plan": "avq.sweep",
    "register_cards": "avq.data.cards",
    "run": "avq.sweep",
    "scale": "avq.scale_sweep",
    "status": "avq.run_status",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'avq' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
