"""What there is to list and to show, kind by kind. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from avq.cli.output import Row


@dataclass(frozen=True)
class Kind:
    """One kind of thing: its names with a line each, and all about one of them."""

    rows: Callable[[], list[Row]]
    details: Callable[[str], Mapping[str, Any]]


def _variants() -> list[Row]:
    from avq.models.zoo import list_variants, variant_entry

    return [{"name": name, "summary": variant_entry(name).summary} for name in list_variants()]


def _variant(name: str) -> Mapping[str, Any]:
    from avq.models.zoo import variant_config, variant_entry

    return {"summary": variant_entry(name).summary, **variant_config(name)}


def _quantizers() -> list[Row]:
    from avq.models.quantizers.registry import QUANTIZERS

    return [{"name": name, "summary": entry.summary} for name, entry in QUANTIZERS.items()]


def _quantizer(name: str) -> Mapping[str, Any]:
    from avq.models.quantizers.registry import QUANTIZERS

    return asdict(QUANTIZERS[name])


def _ablations() -> list[Row]:
    from avq.design.ablation import list_ablations, load_ablation

    return [{"name": name, "question": load_ablation(name).question} for name in list_ablations()]


def _ablation(name: str) -> Mapping[str, Any]:
    from avq.design.ablation import load_ablation

    found: dict[str, Any] = load_ablation(name).model_dump()
    return found


def _datasets() -> list[Row]:
    from avq.data.cards import get_card, list_datasets

    return [{"name": name, "summary": get_card(name).summary} for name in list_datasets()]


def _dataset(name: str) -> Mapping[str, Any]:
    from avq.data.cards import get_card

    return {key: value for key, value in get_card(name).model_dump().items() if value not in ("", {})}


def _presets() -> list[Row]:
    from avq.design.presets import get_preset, list_presets

    return [{"name": name, "summary": get_preset(name).summary} for name in list_presets()]


def _preset(name: str) -> Mapping[str, Any]:
    from avq.design.presets import get_preset

    preset: dict[str, Any] = asdict(get_preset(name))
    settings: dict[str, Any] = preset.pop("settings")
    return preset | settings


def _metrics() -> list[Row]:
    from avq.metrics.registry import METRICS

    return [
        {"name": metric.name, "unit": metric.unit, "better": metric.better, "title": metric.title}
        for metric in METRICS.values()
    ]


def _metric(name: str) -> Mapping[str, Any]:
    from avq.metrics.registry import METRICS

    metric = METRICS.find(name)
    return {key: getattr(metric, key) for key in ("name", "title", "unit", "better", "kind", "format", "label")}


def _setting_rows() -> list[Row]:
    from avq.data.config import DATA_SETTINGS, DataConfig
    from avq.models.config import MODEL_SETTINGS, AutoencoderConfig
    from avq.models.quantizers.registry import QUANTIZERS
    from avq.training.config import TRAIN_SETTINGS, TrainConfig

    places = (
        ("model", MODEL_SETTINGS, AutoencoderConfig),
        ("training", TRAIN_SETTINGS, TrainConfig),
        ("data", DATA_SETTINGS, DataConfig),
    )
    rows: list[Row] = []
    for place, settings, config in places:
        default = {field.name: field.default for field in fields(config)}
        rows += [
            {"name": name, "of": place, "default": default.get(name), "help": text} for name, text in settings.items()
        ]
    rows += [
        {"name": name, "of": "model", "default": default, "help": f"of quantizer {quantizer}"}
        for quantizer, entry in QUANTIZERS.items()
        for name, default in entry.settings.items()
    ]
    return rows


def _setting(name: str) -> Mapping[str, Any]:
    return next(row for row in _setting_rows() if row["name"] == name)


def _weights() -> list[Row]:
    from avq.metrics.weights import REGISTRY, look

    rows: list[Row] = []
    for entry in REGISTRY.values():
        for known in entry.files:
            where = next((found for found in look(entry.name) if found.known is known), None)
            state = "missing" if where is None else str(where.path) if where.state == "ok" else f"DAMAGED {where.path}"
            rows.append(
                {"name": entry.name, "file": known.file, "MB": round(known.size / 1e6, 1), "sha256": known.sha256[:12],
                 "for": entry.metrics, "where": state, "licence": known.licence, "source": known.source}
            )  # fmt: skip
    return rows


def _weights_entry(name: str) -> Mapping[str, Any]:
    from avq.metrics.weights import get_weights

    entry = get_weights(name)
    files = {f"file {known.file}": {**asdict(known), "source": known.source} for known in entry.files}
    return {"name": entry.name, "metrics": entry.metrics, **files}


KINDS = {
    "variants": Kind(_variants, _variant),
    "quantizers": Kind(_quantizers, _quantizer),
    "ablations": Kind(_ablations, _ablation),
    "datasets": Kind(_datasets, _dataset),
    "presets": Kind(_presets, _preset),
    "metrics": Kind(_metrics, _metric),
    "settings": Kind(_setting_rows, _setting),
    "weights": Kind(_weights, _weights_entry),
}


def kind_of(name: str) -> str:
    """The kind that has something of that name; the first in the order of `KINDS` where several have.

    Raises:
        UsageError: nothing is called so; the nearest name is suggested.
    """
    from avq.errors import unknown

    names = {kind: [str(row["name"]) for row in KINDS[kind].rows()] for kind in KINDS}
    for kind, known in names.items():
        if name in known:
            return kind
    everything = {known for group in names.values() for known in group}
    raise unknown("name", name, everything, "`avq-bench list` shows what there is.")
