"""The suite's own quantizers: a line each."""

from __future__ import annotations

from avq.models.quantizers.registry import register_quantizer

register_quantizer(
    "vq",
    "avq.models.quantizers.vq:from_config",
    summary="nearest of K codebook vectors, by EMA or by gradient (arXiv 1711.00937)",
    reads=("codebook_size", "codebook", "ema_decay", "commitment", "dead_code_reset"),
)
register_quantizer(
    "fsq",
    "avq.models.quantizers.fsq:from_config",
    summary="each of a few channels rounded to one of its levels (arXiv 2309.15505)",
    fsq_levels=[8, 6, 5],
)
register_quantizer(
    "bsq",
    "avq.models.quantizers.binary:bsq",
    summary="the signs of a vector on the unit sphere (arXiv 2406.07548)",
    reads=("codebook_size", "entropy_weight", "entropy_temperature"),
)
register_quantizer(
    "lfq",
    "avq.models.quantizers.binary:lfq",
    summary="the signs of a vector (lookup-free, arXiv 2310.05737)",
    reads=("codebook_size", "commitment", "entropy_weight", "entropy_temperature"),
)
register_quantizer(
    "none",
    "avq.models.quantizers.none:from_config",
    summary="a plain autoencoder with the same bottleneck: what quantization costs",
    reads=("quantizer_dim",),
)
