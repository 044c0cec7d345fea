"""Settings of the autoencoder, and the table of named variants. Torch-free, so that listing them is instant."""

from __future__ import annotations

import math
import types
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from avq.errors import UsageError, unknown
from avq.fields import setting as _setting


@dataclass(frozen=True)
class AutoencoderConfig:
    """Everything that tells one autoencoder of the zoo from another.

    The defaults are those of the AREN family (arXiv 2309.11641); where the paper is silent the
    default is this suite's choice and an ablation axis.
    """

    trunk: Literal["aren", "vqvae", "vqvae2"] = _setting("aren", help="encoder and decoder family")
    levels: int = _setting(1, help="levels of the hierarchy, at strides 4, 8, 16 (1 to 3)")
    width: int = _setting(128, help="channels of the trunk")
    residual_width: int | None = _setting(None, help="inner channels of VQ-VAE residual blocks (default: width)")
    block: Literal["v1", "v2"] = _setting("v1", help="AREN block: v1 conv-ReLU-conv, v2 pre-activation BN-ReLU-conv")
    resize: Literal["nearest", "bilinear", "transposed", "decoder"] = _setting(
        "nearest", help="how an upper level's latent is brought to the size of the level below"
    )
    decoder_input: Literal["bottom", "all"] = _setting("bottom", help="levels whose codes the decoder sees")
    dim: int = _setting(64, help="channels of the latent and of a code vector (D)")
    num_codes: int = _setting(512, help="vectors in each level's codebook (K)")
    codebook: Literal["ema", "gradient"] = _setting("ema", help="how the codebook learns")
    ema_decay: float = _setting(0.99, help="decay of the EMA codebook")
    commitment: float = _setting(0.25, help="weight beta of the commitment loss")
    data_init: bool = _setting(True, help="start the codebook from k-means over the first latents")
    restarts: bool = _setting(True, help="move dead codes onto latents of the batch")
    attention: Literal["none", "rpa", "wide"] = _setting(
        "none", help="layer before the quantiser: residual pixel attention, or 1x1 convolutions of its size"
    )
    attention_form: Literal["literal", "projected"] = _setting(
        "literal", help="literal: x + W x with W from g1(x), g2(x); projected: u + W u with u = g1(x)"
    )
    similarity: Literal["sigmoid", "sigmoid-bias", "sigmoid-mean", "softmax", "gated", "uniform"] = _setting(
        "sigmoid", help="how logits become weights"
    )
    filters: int | None = _setting(None, help="channels c of g1 and g2 (default: dim)")
    attention_levels: Literal["all", "bottom", "top"] = _setting("all", help="levels that have the attention layer")

    def __post_init__(self) -> None:
        for name, low in (("width", 2), ("dim", 1), ("num_codes", 2), ("filters", 1), ("residual_width", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{name} must be at least {low}, not {value}.")
        if not 1 <= self.levels <= 3:
            raise UsageError(f"levels must be 1, 2 or 3, not {self.levels}.")
        if not 0 < self.ema_decay < 1:
            raise UsageError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}.")
        if self.commitment < 0:
            raise UsageError(f"commitment must not be negative, not {self.commitment}.")
        if self.trunk == "vqvae" and self.levels != 1:
            raise UsageError(f"the vqvae trunk has one level, not {self.levels}; vqvae2 and aren have more.")
        projected = self.attention == "rpa" and self.attention_form == "projected"
        if projected and self.similarity != "uniform" and self.filters not in (None, self.dim):
            raise UsageError(
                f"filters={self.filters} does not fit the projected form, whose filters are the latent's "
                f"{self.dim} channels; use the literal form or leave filters out."
            )

    @property
    def stride(self) -> int:
        """Pixels of the image a side that one latent pixel of the top level stands for."""
        return int(4 * 2 ** (self.levels - 1))


MODEL_SETTINGS: dict[str, str] = {f.name: f.metadata["help"] for f in fields(AutoencoderConfig)}
"""Every model setting and a line about it: the overrides that `create_variant` and `--set` take."""

_NEEDS_ATTENTION = {"attention_form": ("rpa",), "similarity": ("rpa",)} | dict.fromkeys(
    ("filters", "attention_levels"), ("rpa", "wide")
)
_TYPES = get_type_hints(AutoencoderConfig)


@dataclass(frozen=True)
class VariantEntry:
    """A row of the zoo's table: a summary and the settings in which it differs from the defaults."""

    summary: str
    settings: dict[str, Any]
    factory: str | None = None  # "package.module:callable" for variants that are not the autoencoder


def _aren() -> dict[str, VariantEntry]:
    variants = {}
    for levels in (1, 2, 3):
        trunk = f"Attentive VQ-VAE trunk, {levels} level{'s' if levels > 1 else ''}"
        variants[f"aren-{levels}"] = VariantEntry(
            summary=f"{trunk}, without attention",
            settings={"levels": levels},
        )
        variants[f"aren-{levels}-rpa"] = VariantEntry(
            summary=f"{trunk}, with residual pixel attention by the paper's formula (raw sigmoid)",
            settings={"levels": levels, "attention": "rpa"},
        )
        variants[f"aren-{levels}-rpa-mean"] = VariantEntry(
            summary=f"{trunk}, with residual pixel attention, sigmoid divided by the number of pixels",
            settings={"levels": levels, "attention": "rpa", "similarity": "sigmoid-mean"},
        )
    return variants


VARIANTS: dict[str, VariantEntry] = {
    "vqvae": VariantEntry(
        summary="VQ-VAE's network as published (arXiv 1711.00937): 256 units, two residual blocks; "
        "the suite's quantiser",
        settings={"trunk": "vqvae", "width": 256},
    ),
    "vqvae2": VariantEntry(
        summary="VQ-VAE-2's network as published (arXiv 1906.00446): two levels, residual width 64, decoder sees both; "
        "the suite's quantiser",
        settings={"trunk": "vqvae2", "levels": 2, "residual_width": 64, "resize": "decoder", "decoder_input": "all"},
    ),
    "vqvae2-rosinality": VariantEntry(
        summary="VQ-VAE-2 as in its best-known port: residual width 32, plain EMA codebook",
        settings={
            "trunk": "vqvae2",
            "levels": 2,
            "residual_width": 32,
            "resize": "decoder",
            "decoder_input": "all",
            "data_init": False,
            "restarts": False,
        },
    ),
    **_aren(),
    "aren-1-rpa-projected": VariantEntry(
        summary="Attentive VQ-VAE, 1 level, attention in the sibling code's form (u + s(u y^T) u), "
        "which is its own projection",
        settings={"attention": "rpa", "attention_form": "projected"},
    ),
    "aren-1-uniform": VariantEntry(
        summary="control: 1 level, every pixel attends to all alike (global average)",
        settings={"attention": "rpa", "similarity": "uniform"},
    ),
    "aren-1-wide": VariantEntry(
        summary="control: 1 level, the attention's parameters spent on 1x1 convolutions", settings={"attention": "wide"}
    ),
    "patch-kmeans": VariantEntry(
        summary="floor: k-means over raw 4x4 patches, one code a patch",
        settings={"num_codes": 512},
        factory="avq.models.floor:PatchKMeans",
    ),
}
"""The zoo, by name. `register_variant` adds to it."""


def register_variant(name: str, summary: str, factory: str | None = None, **settings: Any) -> None:
    """Add a variant to the zoo.

    Args:
        name: the name people will type.
        summary: one line for `avq-bench list variants`.
        factory: "package.module:callable" that builds the model, called as `factory(image_size=, **settings)`;
            None for a configuration of the suite's own autoencoder.
        settings: the settings in which it differs from the defaults (`MODEL_SETTINGS`), or the
            factory's own keyword arguments with their defaults.

    Raises:
        UsageError: the name is taken, or a setting does not exist or does not fit.
    """
    if name in VARIANTS:
        raise UsageError(f"variant '{name}' is registered already; choose another name.")
    if factory is None:
        AutoencoderConfig(**_checked(settings))
    VARIANTS[name] = VariantEntry(summary, settings, factory)


def list_variants() -> list[str]:
    """The names of all registered variants, in the order of the zoo's table."""
    return list(VARIANTS)


def variant_entry(name: str) -> VariantEntry:
    """The zoo's entry of that name; UsageError (with a suggestion) where there is none."""
    if name not in VARIANTS:
        raise unknown("variant", name, VARIANTS, "`avq-bench list variants` shows all.")
    return VARIANTS[name]


def variant_config(name: str, **overrides: Any) -> dict[str, Any]:
    """All settings of a variant, resolved, as a JSON-able dict.

    Raises:
        UsageError: unknown variant or setting, a value of the wrong kind, or an attention setting for a
            variant that has no attention.
    """
    entry = variant_entry(name)
    if entry.factory is not None:
        return entry.settings | _factory_overrides(name, entry.settings, overrides)
    published = AutoencoderConfig(**variant_entry(name).settings)
    overrides = _checked(overrides)
    attention = overrides.get("attention", published.attention)
    idle = [key for key, layers in _NEEDS_ATTENTION.items() if key in overrides and attention not in layers]
    if idle:
        raise UsageError(f"{idle[0]} does nothing on {name}, which has no attention layer; start from aren-1-rpa.")
    config = replace(published, **overrides)
    if published.residual_width and "residual_width" not in overrides:  # a narrower trunk narrows its blocks alike
        scaled = max(1, round(published.residual_width * config.width / published.width))
        config = replace(config, residual_width=scaled)
    return asdict(config)


def _factory_overrides(name: str, known: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The overrides a factory takes. Settings of the family that it lacks (a preset's width) pass it by."""
    for key in overrides:
        if key not in known and key not in MODEL_SETTINGS:
            raise unknown(f"setting of {name}", key, {*known, *MODEL_SETTINGS})
    return {
        key: _checked_value(key, value) if key in MODEL_SETTINGS else value
        for key, value in overrides.items()
        if key in known
    }


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: _checked_value(name, value) for name, value in settings.items()}


def _checked_value(name: str, value: Any) -> Any:
    if name not in MODEL_SETTINGS:
        raise unknown("model setting", name, MODEL_SETTINGS)
    kind = _TYPES[name]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise unknown(f"value of {name}", str(value), [str(choice) for choice in get_args(kind)])
        return value
    allowed = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number, not {value}.")
    if type(value) not in allowed:
        words = " or ".join("none" if t is type(None) else t.__name__ for t in allowed)
        raise UsageError(f"{name} must be {words}, not {value!r}.")
    return value
