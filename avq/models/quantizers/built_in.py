"""The suite's own quantizers: a line each."""

from __future__ import annotations

from avq.models.quantizers.registry import register_quantizer

_VQ = ("codebook_size", "codebook", "ema_decay", "commitment", "dead_code_reset", "quantizer_dim")

register_quantizer(
    "vq",
    "avq.models.quantizers.vq:from_config",
    summary="nearest of K codebook vectors, by EMA or by gradient (arXiv 1711.00937)",
    reads=(*_VQ, "normalize", "gradient", "entropy_weight", "entropy_temperature"),
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
    "residual",
    "avq.models.quantizers.residual:from_config",
    summary="vq of what the codes before left over, several times (arXiv 2203.01941)",
    reads=_VQ,
    residual_depth=2,
    residual_shared=True,
    residual_dropout=False,
)
register_quantizer(
    "product",
    "avq.models.quantizers.product:from_config",
    summary="vq of groups of channels, a code each",
    reads=_VQ,
    product_heads=2,
)
register_quantizer(
    "simvq",
    "avq.models.quantizers.simvq:from_config",
    summary="nearest of K frozen vectors under a linear layer that learns (arXiv 2411.02038)",
    reads=("codebook_size", "commitment", "quantizer_dim"),
)
register_quantizer(
    "cvq",
    "avq.models.quantizers.cvq:from_config",
    summary="vq by angle, whose hardly used vectors move onto latents (arXiv 2307.15139)",
    reads=("codebook_size", "ema_decay", "commitment", "quantizer_dim"),
)
register_quantizer(
    "ibq",
    "avq.models.quantizers.ibq:from_config",
    summary="largest dot product, with the gradient of a softmax over all codes (arXiv 2412.02692)",
    reads=("codebook_size", "commitment", "quantizer_dim", "entropy_weight", "entropy_temperature"),
)
register_quantizer(
    "none",
    "avq.models.quantizers.none:from_config",
    summary="a plain autoencoder with the same bottleneck: what quantization costs",
    reads=("quantizer_dim",),
)
