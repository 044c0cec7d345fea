"""The suite's own variants."""

from __future__ import annotations

from avq.models.zoo import register_variant

register_variant(
    "vqvae",
    summary="VQ-VAE's network as published (arXiv 1711.00937): 256 units, two residual blocks; the suite's quantizer",
    backbone="vqvae",
    width=256,
)
register_variant(
    "vqvae2",
    summary="VQ-VAE-2's network as published (arXiv 1906.00446): two levels, residual width 64, decoder sees both; "
    "the suite's quantizer",
    backbone="vqvae2",
    levels=2,
    residual_width=64,
    resize="decoder",
    decoder_input="all",
)
register_variant(
    "vqvae2-rosinality",
    summary="VQ-VAE-2 as in its best-known port: residual width 32, plain EMA codebook",
    backbone="vqvae2",
    levels=2,
    residual_width=32,
    resize="decoder",
    decoder_input="all",
    kmeans_init=False,
    dead_code_reset=False,
)
for _levels in (1, 2, 3):
    _name, _what = f"aren-{_levels}", f"Attentive VQ-VAE backbone, {_levels} level{'s' if _levels > 1 else ''}"
    register_variant(_name, summary=f"{_what}, without attention", levels=_levels)
    register_variant(
        f"{_name}-rpa",
        summary=f"{_what}, with residual pixel attention by the paper's formula (raw sigmoid)",
        levels=_levels,
        attention="rpa",
    )
    register_variant(
        f"{_name}-rpa-mean",
        summary=f"{_what}, with residual pixel attention, sigmoid divided by the number of pixels",
        levels=_levels,
        attention="rpa",
        similarity="sigmoid-mean",
    )
register_variant(
    "aren-1-rpa-projected",
    summary="Attentive VQ-VAE, 1 level, attention in the sibling code's form (u + s(u y^T) u), which is its own "
    "projection",
    attention="rpa",
    attention_form="projected",
)
register_variant(
    "aren-1-uniform",
    summary="control: 1 level, every pixel attends to all alike (global average)",
    attention="rpa",
    similarity="uniform",
)
register_variant(
    "aren-1-wide",
    summary="control: 1 level, the attention's parameters spent on 1x1 convolutions",
    attention="wide",
)
register_variant(
    "patch-kmeans",
    summary="baseline: k-means over raw 4x4 patches, one code a patch",
    factory="avq.models.patch_kmeans:PatchKMeans",
    baseline=True,
    codebook_size=512,
)
