"""The models: blocks, attention, quantizers, one autoencoder, and the zoo of named variants.

Torch is imported when a model is first used, so that listing the zoo is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from avq.models.config import MODEL_SETTINGS
from avq.models.quantizers.registry import register_quantizer
from avq.models.zoo import create_variant, list_variants, register_variant, variant_config

if TYPE_CHECKING:
    from avq.models.attention import ResidualPixelAttention
    from avq.models.autoencoder import Autoencoder
    from avq.models.quantizers.base import Quantized, Quantizer
    from avq.models.quantizers.vq import VectorQuantizer
    from avq.models.tokenizer import Baseline, Reconstruction, Tokenizer

_LAZY = {
    "Autoencoder": "autoencoder",
    "Baseline": "tokenizer",
    "Quantized": "quantizers.base",
    "Quantizer": "quantizers.base",
    "Reconstruction": "tokenizer",
    "ResidualPixelAttention": "attention",
    "Tokenizer": "tokenizer",
    "VectorQuantizer": "quantizers.vq",
}

__all__ = [
    "MODEL_SETTINGS",
    "Autoencoder",
    "Baseline",
    "Quantized",
    "Quantizer",
    "Reconstruction",
    "ResidualPixelAttention",
    "Tokenizer",
    "VectorQuantizer",
    "create_variant",
    "list_variants",
    "register_quantizer",
    "register_variant",
    "variant_config",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'avq.models' has no attribute '{name}'")
    return getattr(importlib.import_module(f"avq.models.{_LAZY[name]}"), name)
