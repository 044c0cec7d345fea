"""One flat namespace over the settings of models, training and data, each value with where it came from."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from avq.errors import UsageError, unknown

Match = Literal["steps", "train-flops", "bits"]
MATCH_HELP = "what rows have in common: steps, train-flops (steps scaled) or bits (codes per level solved)"


@dataclass(frozen=True)
class Setting:
    """A value and where it came from, such as `preset small` or `--set`."""

    value: Any
    origin: str


def model_settings() -> set[str]:
    """Names of all model settings, those of plug-in variants with a factory of their own among them."""
    from avq.models.config import MODEL_SETTINGS
    from avq.models.quantizers.registry import quantizer_settings
    from avq.models.zoo import VARIANTS

    return {*MODEL_SETTINGS, *quantizer_settings()}.union(*(entry.settings for entry in VARIANTS.values()))


def known_settings() -> set[str]:
    """Every name that a preset, an ablation file or `--set` may give a value."""
    from avq.data.config import DATA_SETTINGS
    from avq.training.config import TRAIN_SETTINGS

    others = {*TRAIN_SETTINGS, *DATA_SETTINGS, "match"}
    for name in others & model_settings():
        raise UsageError(f"a plug-in's setting '{name}' has the name of one of training or data; give it another.")
    return others | model_settings()


def check_names(names: Iterable[str], where: str, also: Iterable[str] = ()) -> None:
    """Raise a UsageError, with the nearest name suggested, for a name that is no setting."""
    known = known_settings().union(also)
    for name in names:
        if name not in known:
            raise unknown(f"setting in {where}:", name, known)


_SWITCHES = {"yes": True, "no": False}


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`["steps=500", "loss=mse"]` -> `{"steps": 500, "loss": "mse"}`; values as in TOML, bare words as text.

    A switch may be given as it is shown, by yes or no.

    Raises:
        UsageError: no `=`, or a name that is no setting.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise UsageError(f"--set takes NAME=VALUE, such as steps=500, not '{text}'.")
        check_names([name], "--set")
        try:
            values[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = _SWITCHES.get(value, value)
    return values


def check_value(kind: type, name: str, value: Any, origin: str) -> Any:
    """`value`, fit for the field `name` of the dataclass `kind` (an int becomes a float where one is due).

    Raises:
        UsageError: the value is of another type or not among the choices.
    """
    from pydantic import TypeAdapter, ValidationError

    hint = get_type_hints(kind)[name]
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} = {value} ({origin}): it must be a finite number.")
    try:
        return TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        choices = get_args(hint)
        if isinstance(value, str) and choices and all(isinstance(choice, str) for choice in choices):
            raise unknown(f"value of {name} ({origin})", value, choices) from None
        problem = error.errors()[0]["msg"]
        raise UsageError(f"{name} = {value!r} ({origin}): {problem[0].lower()}{problem[1:]}.") from None


def build(kind: type, settings: Mapping[str, Setting]) -> Any:
    """The dataclass `kind`, made of those settings that are fields of it."""
    own = {f.name for f in fields(kind)} & settings.keys()
    values = {name: check_value(kind, name, settings[name].value, settings[name].origin) for name in own}
    return kind(**values)


def defaults(kind: type) -> dict[str, Setting]:
    """The defaults of a dataclass as settings of origin `default`."""
    return {f.name: Setting(f.default, "default") for f in fields(kind) if f.default is not MISSING}
