"""The zoo: variants by name, their settings, and building them. Torch-free until a model is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from avq.errors import UsageError, unknown
from avq.models.config import MODEL_SETTINGS, AutoencoderConfig, checked, of_type, split_settings
from avq.models.quantizers.registry import QUANTIZERS, quantizer_settings
from avq.models.recipe import Recipe, build
from avq.registry import Registry

if TYPE_CHECKING:
    from avq.models.tokenizer import Tokenizer

_NEEDS_ATTENTION = {"attention_form": ("rpa",), "similarity": ("rpa",)} | dict.fromkeys(
    ("attention_dim", "attention_levels"), ("rpa", "wide")
)


@dataclass(frozen=True)
class VariantEntry:
    """A variant of the zoo.

    Attributes:
        summary: one line for `avq-bench list variants`.
        settings: those that differ from the defaults; for a factory, all of its own.
        factory: "package.module:callable" for variants that are not the suite's autoencoder.
        baseline: whether it is fitted, not trained.
    """

    summary: str
    settings: Mapping[str, Any]
    factory: str | None = None
    baseline: bool = False


VARIANTS: Registry[VariantEntry] = Registry(
    "variant", "`avq-bench list variants` shows all; a plug-in's needs --plugin.", built_in=["avq.models.variants"]
)


def register_variant(
    name: str, summary: str, factory: str | None = None, baseline: bool = False, **settings: Any
) -> None:
    """Add a variant to the zoo.

    Args:
        name: what the user types.
        summary: one line for `avq-bench list variants`.
        factory: "package.module:callable" that builds the model, called as `factory(image_size=, **settings)`;
            None for a configuration of the suite's own autoencoder.
        baseline: whether the factory builds a `Baseline`, which is fitted, not trained.
        settings: those that differ from the defaults (`MODEL_SETTINGS` and those of its quantizer), or all keyword
            arguments of the factory with their defaults.

    Raises:
        UsageError: the name is taken, or a setting does not exist or does not fit.
    """
    if factory is None:
        resolved_settings(settings)
    VARIANTS.register(name, VariantEntry(summary, settings, factory, baseline))


def list_variants() -> list[str]:
    """The names of all variants, in the order of their registration."""
    return list(VARIANTS)


def variant_entry(name: str) -> VariantEntry:
    """The entry of that name; UsageError with a suggestion for an unknown one."""
    return VARIANTS.find(name)


def variant_config(name: str, **overrides: Any) -> dict[str, Any]:
    """All settings that take effect in a variant, resolved, as a JSON-able dict.

    Settings of the family that its factory or quantizer does not have (those of a preset, for example) are ignored.

    Raises:
        UsageError: unknown variant or setting, a value of the wrong kind, or an attention setting for a
            variant that has no attention.
    """
    entry = variant_entry(name)
    if entry.factory is not None:
        known = {*MODEL_SETTINGS, *quantizer_settings(), *entry.settings}
        wrong = [key for key in overrides if key not in known]
        if wrong:
            raise unknown(f"setting of {name}", wrong[0], known)
        family, own = split_settings({key: value for key, value in overrides.items() if key in entry.settings})
        return {**entry.settings, **own, **checked(family)}
    attention = overrides.get("attention", entry.settings.get("attention", "none"))
    idle = [key for key, layers in _NEEDS_ATTENTION.items() if key in overrides and attention not in layers]
    if idle:
        raise UsageError(f"{idle[0]} does nothing on {name}, which has no attention layer; start from aren-1-rpa.")
    config = resolved_settings({**entry.settings, **overrides})
    published = AutoencoderConfig(**split_settings(entry.settings)[0])
    if published.residual_width and "residual_width" not in overrides:  # narrow the blocks with the backbone
        config["residual_width"] = max(1, round(published.residual_width * config["width"] / published.width))
    return config


def resolved_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings that take effect in an autoencoder, from those that differ from the defaults.

    These are the family's, except those that only other quantizers read, and all of its quantizer's own. UsageError for
    a setting that does not exist or does not fit.
    """
    family, own = split_settings(settings)
    several = quantizer_settings()
    wrong = [name for name in own if name not in several]
    if wrong:
        raise unknown("model setting", wrong[0], {*MODEL_SETTINGS, *several})
    config = AutoencoderConfig(**checked(family))
    quantizer = QUANTIZERS.find(config.quantizer)
    acting = {name: v for name, v in asdict(config).items() if name not in several or name in quantizer.reads}
    for name, default in quantizer.settings.items():
        value = own.get(name, default)
        acting[name] = value if default is None else of_type(name, value, (type(default),))
    return acting


def create_variant(name: str, image_size: int = 32, width: int | None = None, **overrides: Any) -> Tokenizer:
    """Build an untrained variant of the zoo.

    Args:
        name: one of `avq.list_variants()`.
        image_size: side of the images in pixels; a multiple of the variant's stride.
        width: channels of the encoder backbone; None for the published width.
        **overrides: any of `avq.models.config.MODEL_SETTINGS`, and of the settings of its quantizer.

    Returns:
        A `Tokenizer`: `forward(images) -> Reconstruction`, `encode`, `decode`; images `[B, 3, H, W]` in [-1, 1].

    Raises:
        UsageError: unknown name or setting, a value of the wrong kind, or an image size that does not fit.
    """
    if width is not None:
        overrides["width"] = width
    return build_from_config(name, image_size, variant_config(name, **overrides))


def build_from_config(name: str, image_size: int, config: Mapping[str, Any]) -> Tokenizer:
    """Build a variant from settings as `variant_config` resolved them; errors as `create_variant`."""
    return build(Recipe(name, image_size, dict(config), variant_entry(name).factory))
