"""Settings of the autoencoder. Torch-free, so that they are listed at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from avq.errors import UsageError, unknown
from avq.fields import setting


@dataclass(frozen=True)
class AutoencoderConfig:
    """The settings that distinguish the autoencoders of the zoo.

    The defaults are those of the AREN family (arXiv 2309.11641); where the paper does not say, they are this suite's
    choice and an ablation axis.
    """

    backbone: Literal["aren", "vqvae", "vqvae2"] = setting("aren", help="encoder and decoder family")
    levels: int = setting(1, help="levels of the hierarchy, at strides 4, 8, 16 (1 to 3)")
    width: int = setting(128, help="channels of the encoder backbone")
    residual_width: int | None = setting(None, help="inner channels of VQ-VAE residual blocks (default: width)")
    block: Literal["v1", "v2"] = setting("v1", help="AREN block: v1 conv-ReLU-conv, v2 pre-activation BN-ReLU-conv")
    resize: Literal["nearest", "bilinear", "transposed", "decoder"] = setting(
        "nearest", help="how an upper level's latent is brought to the size of the level below"
    )
    decoder_input: Literal["bottom", "all"] = setting("bottom", help="levels whose codes the decoder sees")
    code_dim: int = setting(64, help="channels of the latent and of a code vector (D)")
    codebook_size: int = setting(512, help="vectors in each level's codebook (K)")
    quantizer: str = setting("vq", help="how latents become codes (`avq-bench list quantizers`)")
    quantizer_dim: int | None = setting(
        None, help="channels that are quantized, by a linear projection in and out (default: code_dim, without one)"
    )
    normalize: bool = setting(False, help="scale latents and codebook vectors to length 1")
    gradient: Literal["straight-through", "rotation"] = setting(
        "straight-through", help="how the gradient of a code vector passes to its latent"
    )
    entropy_weight: float | None = setting(
        None, help="weight of per-sample minus batch entropy of soft codes (default: the quantizer's own)"
    )
    entropy_temperature: float | None = setting(
        None, help="T of those entropies, in the softmax of -|z - e|^2 / T (default: the quantizer's own)"
    )
    codebook: Literal["ema", "gradient"] = setting("ema", help="how the codebook learns")
    ema_decay: float = setting(0.99, help="decay of the EMA codebook")
    commitment: float = setting(0.25, help="weight beta of the commitment loss")
    kmeans_init: bool = setting(True, help="start the codebook from k-means over the first latents")
    dead_code_reset: bool = setting(True, help="move dead codes onto latents of the batch")
    attention: Literal["none", "rpa", "wide"] = setting(
        "none", help="layer before the quantizer: residual pixel attention, or 1x1 convolutions of its size"
    )
    attention_form: Literal["literal", "projected"] = setting(
        "literal", help="literal: x + W x with W from g1(x), g2(x); projected: u + W u with u = g1(x)"
    )
    similarity: Literal["sigmoid", "sigmoid-bias", "sigmoid-mean", "softmax", "gated", "uniform"] = setting(
        "sigmoid", help="how logits become weights"
    )
    attention_dim: int | None = setting(None, help="channels c of g1 and g2 (default: code_dim)")
    attention_levels: Literal["all", "bottom", "top"] = setting("all", help="levels that have the attention layer")

    def __post_init__(self) -> None:
        least = {"width": 2, "code_dim": 1, "codebook_size": 2, "attention_dim": 1, "residual_width": 1}
        least |= {"quantizer_dim": 1, "entropy_weight": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{name} must be at least {low}, not {value}.")
        if not 1 <= self.levels <= 3:
            raise UsageError(f"levels must be 1, 2 or 3, not {self.levels}.")
        if not 0 < self.ema_decay < 1:
            raise UsageError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}.")
        if self.entropy_temperature is not None and self.entropy_temperature <= 0:
            raise UsageError(f"entropy_temperature must be above 0, not {self.entropy_temperature}.")
        if self.commitment < 0:
            raise UsageError(f"commitment must not be negative, not {self.commitment}.")
        if self.backbone == "vqvae" and self.levels != 1:
            raise UsageError(f"the vqvae backbone has one level, not {self.levels}; vqvae2 and aren have more.")
        projected = self.attention == "rpa" and self.attention_form == "projected"
        if projected and self.similarity != "uniform" and self.attention_dim not in (None, self.code_dim):
            raise UsageError(
                f"attention_dim={self.attention_dim} does not fit the projected form, whose filters are the latent's "
                f"{self.code_dim} channels; use the literal form or leave attention_dim out."
            )

    @property
    def stride(self) -> int:
        """Side in image pixels of one latent pixel of the top level."""
        return int(4 * 2 ** (self.levels - 1))


MODEL_SETTINGS: dict[str, str] = {f.name: f.metadata["help"] for f in fields(AutoencoderConfig)}
"""Every model setting with its help: the overrides that `create_variant` and `--set` take."""

_TYPES = get_type_hints(AutoencoderConfig)


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Resolved settings split into those of the family, which `AutoencoderConfig` takes, and the quantizer's own."""
    own = {name: value for name, value in settings.items() if name in MODEL_SETTINGS}
    return own, {name: value for name, value in settings.items() if name not in own}


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with an int as a float where one is due; UsageError for an unknown name or a wrong value."""
    found = {}
    for name, value in settings.items():
        if name not in MODEL_SETTINGS:
            raise unknown("model setting", name, MODEL_SETTINGS)
        kind = _TYPES[name]
        if get_origin(kind) is not Literal:
            found[name] = of_type(name, value, get_args(kind) or (kind,))
        elif value in get_args(kind):
            found[name] = value
        else:
            raise unknown(f"value of {name}", str(value), [str(choice) for choice in get_args(kind)])
    return found


def of_type(name: str, value: Any, allowed: tuple[type, ...]) -> Any:
    """A setting's value, an int as a float where one is due; UsageError where it has none of the types."""
    if float in allowed and type(value) is int:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number, not {value}.")
    if type(value) not in allowed:
        types_ = " or ".join("none" if t is type(None) else t.__name__ for t in allowed)
        raise UsageError(f"{name} must be {types_}, not {value!r}.")
    return value
