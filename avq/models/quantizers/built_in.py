"""The suite's own quantizers: a line each."""

from __future__ import annotations

from avq.models.quantizers.registry import register_quantizer

register_quantizer(
    "vq",
    "avq.models.quantizers.vq:from_config",
    summary="nearest of K codebook vectors, by EMA or by gradient (arXiv 1711.00937)",
    reads=("codebook_size", "codebook", "ema_decay", "commitment", "dead_code_reset"),
)
