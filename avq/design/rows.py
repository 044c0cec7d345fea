"""Axes x rows of an ablation, each with its label and every setting resolved (torch-free)."""

from __future__ import annotations

import itertools
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from avq.design.ablation import Ablation
from avq.design.presets import Preset, get_preset
from avq.design.settings import (
    Match,
    Setting,
    build,
    check_names,
    check_value,
    defaults,
    model_settings,
)
from avq.errors import UsageError, unknown
from avq.models.quantizers.registry import quantizer_settings

_PUBLISHED = ("vqvae", "vqvae2")  # networks as published, with the quantizer that all rows share


@dataclass(frozen=True)
class Row:
    """One row of the table to come.

    Attributes:
        label: the variant, plus `[axis=value,...]` for what the variant's name does not tell.
        variant: name in the zoo.
        axes: label of the row's value on every axis of the ablation; empty where it has none.
        settings: every setting of model, training and data, with its origin.
        model: the model settings, resolved, as `build_from_config` takes them.
        match: what the row has in common with the reference row.
        note: what a reader must know, such as a published variant narrowed by the preset; else empty.
    """

    label: str
    variant: str
    axes: dict[str, str]
    settings: dict[str, Setting]
    model: dict[str, Any]
    match: Match = "steps"
    note: str = ""

    def values(self, kind: type) -> Any:
        """The dataclass `kind` (TrainConfig, DataConfig) of this row."""
        return build(kind, self.settings)


@dataclass(frozen=True)
class _Sketch:
    label: str
    variant: str
    axes: dict[str, str]
    given: dict[str, Setting]


def expand(ablation: Ablation, preset: Preset, sets: Mapping[str, Setting]) -> list[Row]:
    """All rows of an ablation under a preset and the user's own settings.

    Precedence, lowest first: variant, preset, what the file has under `presets` for it, the file's base, the row or
    axis, `--set`.

    Raises:
        UsageError: an unknown setting, axis, variant or row; a value that does not fit; two rows alike.
    """
    file = f"{ablation.name}.toml"
    check_names(preset.settings, f"preset {preset.name}")
    check_names(ablation.base, f"{file} [base]", also=["variant"])
    for name, own in ablation.presets.items():
        get_preset(name)
        check_names(own, f"{file} [presets.{name}]")
    for name in sets:
        if name in ablation.axes:
            raise UsageError(f"{name} is an axis of {file}: choose among its values with --only.")
    sketches = [*_grid(ablation), *_extra(ablation)]
    names = [sketch.label for sketch in sketches]
    if not names:
        raise UsageError(f"{file} has no rows: give base.variant or [[rows]].")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{file}: row '{name}' is there {names.count(name)} times.")
    _check_references(ablation, names)
    rows = [_resolve(sketch, ablation, preset, sets) for sketch in sketches]
    for name in quantizer_settings() & sets.keys():
        if all(name not in row.settings for row in rows):
            raise UsageError(f"--set {name} does nothing: no row's quantizer reads it; set quantizer too.")
    return rows


def labels(ablation: Ablation) -> list[str]:
    """The labels of all rows, in order."""
    return [sketch.label for sketch in (*_grid(ablation), *_extra(ablation))]


def choose(rows: Sequence[Row], ablation: Ablation, preset: Preset, only: Sequence[str] | None) -> list[Row]:
    """The rows to run: those named, by label or, where no row has that label, by variant; else the preset's choice.

    Raises:
        UsageError: a name that is neither; no name at all.
    """
    if only is not None:
        if not only:
            raise UsageError("--only names no row: give labels or variants, such as --only aren-1,vqvae.")
        names = {row.label for row in rows} | {row.variant for row in rows}
        for name in only:
            if name not in names:
                raise unknown(f"row of {ablation.name}", name, names)
        variants = set(only) - {row.label for row in rows}
        return [row for row in rows if row.label in only or row.variant in variants]
    if not preset.smoke_rows:
        return list(rows)
    return [row for row in rows if row.label in ablation.smoke] if ablation.smoke else list(rows)[:3]


def _grid(ablation: Ablation) -> list[_Sketch]:
    template = ablation.base.get("variant")
    file = f"{ablation.name}.toml"
    if template is None:
        if ablation.axes:
            raise UsageError(f"{file} has axes but no base.variant to vary.")
        return []
    if not isinstance(template, str):
        raise UsageError(f"{file}: base.variant must be a name, not {template!r}.")
    try:
        placeholders = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(f"{file}: base.variant '{template}': {error}.") from None
    for name in placeholders:
        if name not in ablation.axes:
            raise unknown(f"axis in {file} base.variant:", name, ablation.axes, "[axes] declares none of that name.")
    check_names((axis for axis in ablation.axes if axis not in placeholders), f"{file} [axes]")
    if not ablation.axes and ablation.rows and "variant" in ablation.base and not placeholders:
        return [_Sketch(template, template, {}, {})]
    options = [_options(values) for values in ablation.axes.values()]
    sketches = []
    for point in itertools.product(*options):
        chosen = dict(zip(ablation.axes, point, strict=True))
        variant = template.format(**{name: value for name, (_, value) in chosen.items()})
        free = {name: pair for name, pair in chosen.items() if name not in placeholders}
        given = {name: Setting(value, f"axis {name}") for name, (_, value) in free.items()}
        axes = {name: label for name, (label, _) in chosen.items()}
        tags = [f"{name}={label}" for name, (label, _) in free.items()]
        sketches.append(_Sketch(_label(variant, tags), variant, axes, given))
    return sketches


def _options(values: list[Any] | dict[str, Any]) -> list[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, dict) else [(_text(value), value) for value in values]


def _text(value: Any) -> str:
    """A value in a label, such as 8x5x5x5 for a list."""
    if isinstance(value, list):
        return "x".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _label(variant: str, tags: Sequence[str]) -> str:
    return f"{variant}[{','.join(tags)}]" if tags else variant


def _extra(ablation: Ablation) -> list[_Sketch]:
    sketches = []
    file = f"{ablation.name}.toml"
    for row in ablation.rows:
        check_names(row, f"{file} [[rows]]", also=["variant"])
        variant = row.get("variant", ablation.base.get("variant"))
        if not isinstance(variant, str) or "{" in variant:
            raise UsageError(f"{file}: every one of [[rows]] needs a variant.")
        own = {name: value for name, value in row.items() if name != "variant"}
        tags = [f"{name}={_text(value)}" for name, value in own.items()]
        axes = {name: _text(own[name]) if name in own else "" for name in ablation.axes}
        given = {name: Setting(value, "row") for name, value in own.items()}
        sketches.append(_Sketch(_label(variant, tags), variant, axes, given))
    return sketches


def _check_references(ablation: Ablation, labels: Sequence[str]) -> None:
    from avq.metrics.registry import METRICS

    file = f"{ablation.name}.toml"
    for contrast in ablation.contrasts:
        for side in (contrast.a, contrast.b):
            if side not in labels:
                raise unknown(f"row in {file} contrast '{contrast.name}':", side, labels)
        if contrast.metric not in METRICS:
            raise unknown(f"metric in {file} contrast '{contrast.name}':", contrast.metric, METRICS)
        measure = METRICS[contrast.metric]
        if measure.better is None or measure.kind in ("time", "memory"):
            raise UsageError(
                f"{file} contrast '{contrast.name}': rows cannot be judged by {measure.name}; name a trained metric."
            )
    for metric in ablation.statistics.margin:
        if metric not in METRICS:
            raise unknown(f"metric in {file} [statistics] margin:", metric, METRICS)
    for label in ablation.smoke:
        if label not in labels:
            raise unknown(f"row in {file} smoke:", label, labels)
    if ablation.budget.reference is not None and ablation.budget.reference not in labels:
        raise unknown(f"row in {file} [budget] reference:", ablation.budget.reference, labels)


def _resolve(sketch: _Sketch, ablation: Ablation, preset: Preset, sets: Mapping[str, Setting]) -> Row:
    from avq.data.config import DataConfig
    from avq.models.zoo import variant_config
    from avq.training.config import TrainConfig

    file = f"{ablation.name}.toml"
    base = {name: Setting(value, f"{file} base") for name, value in ablation.base.items() if name != "variant"}
    given = {name: Setting(value, f"preset {preset.name}") for name, value in preset.settings.items()}
    own = ablation.presets.get(preset.name, {})
    given |= {name: Setting(value, f"{file} presets.{preset.name}") for name, value in own.items()}
    given |= {**base, **sketch.given, **sets}
    overrides = {name: setting.value for name, setting in given.items() if name in model_settings()}
    try:
        model = variant_config(sketch.variant, **overrides)
        native = variant_config(sketch.variant)
    except UsageError as error:
        raise UsageError(f"{file}, row {sketch.label}: {error}") from None
    for name in quantizer_settings() & sketch.given.keys() - model.keys():
        raise UsageError(f"{file}, row {sketch.label}: {name} does nothing with this row's quantizer.")
    settings = defaults(TrainConfig) | defaults(DataConfig)
    settings |= {name: Setting(value, f"variant {sketch.variant}") for name, value in model.items()}
    settings |= {name: setting for name, setting in given.items() if name in settings}
    settings |= {name: Setting(value, settings[name].origin) for name, value in model.items()}
    match = given.get("match", Setting(ablation.budget.match, f"{file} budget"))
    check_value(_MatchField, "match", match.value, match.origin)
    row = Row(sketch.label, sketch.variant, sketch.axes, settings, model, match.value, _note(sketch, model, native))
    for kind in (TrainConfig, DataConfig):
        settings |= _canonical_values(row, kind)
    return row


@dataclass(frozen=True)
class _MatchField:
    match: Match


def _canonical_values(row: Row, kind: type) -> dict[str, Setting]:
    return {name: Setting(value, row.settings[name].origin) for name, value in asdict(row.values(kind)).items()}


def _note(sketch: _Sketch, model: Mapping[str, Any], native: Mapping[str, Any]) -> str:
    """A variant that goes by a published name says where it is not the published one."""
    if sketch.variant not in _PUBLISHED:
        return ""
    if model["quantizer"] != native["quantizer"]:
        return f"quantizer {model['quantizer']}, not the published one"
    own = {"kmeans_init": "k-means start", "dead_code_reset": "dead-code reset"}
    parts = [f"{'EMA' if model['codebook'] == 'ema' else 'gradient'} codebook"]
    parts += [words for name, words in own.items() if model[name]]
    width = "" if model["width"] == native["width"] else f"width {model['width']}, published {native['width']}"
    quantizer = f"this suite's quantizer ({', '.join(parts)}), not the published one" if len(parts) > 1 else ""
    return "; ".join(filter(None, (width, quantizer)))
