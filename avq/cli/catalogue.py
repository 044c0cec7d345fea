"""What there is to list and to show, kind by kind. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from avq.cli.output import Row


class Kind(NamedTuple):
    """One kind of thing: its names with a line each, and everything about one of them."""

    rows: Sequence[Row]
    details: Callable[[str], Mapping[str, Any]]


def _variants() -> Kind:
    from avq.models.zoo import VARIANTS, variant_config

    rows = [{"name": name, "summary": entry.summary} for name, entry in VARIANTS.items()]
    return Kind(rows, lambda name: {"summary": VARIANTS[name].summary, **variant_config(name)})


def _quantizers() -> Kind:
    from avq.models.quantizers.registry import QUANTIZERS

    rows = [{"name": name, "summary": entry.summary} for name, entry in QUANTIZERS.items()]
    return Kind(rows, lambda name: asdict(QUANTIZERS[name]))


def _ablations() -> Kind:
    from avq.design.ablation import list_ablations, load_ablation

    rows = [{"name": name, "question": load_ablation(name).question} for name in list_ablations()]
    return Kind(rows, lambda name: load_ablation(name).model_dump())


def _datasets() -> Kind:
    from avq.data.cards import get_card, list_datasets

    def details(name: str) -> dict[str, Any]:
        return {key: value for key, value in get_card(name).model_dump().items() if value not in ("", {})}

    return Kind([{"name": name, "summary": get_card(name).summary} for name in list_datasets()], details)


def _presets() -> Kind:
    from avq.design.presets import get_preset, list_presets

    def details(name: str) -> dict[str, Any]:
        preset: dict[str, Any] = asdict(get_preset(name))
        settings: dict[str, Any] = preset.pop("settings")
        return preset | settings

    return Kind([{"name": name, "summary": get_preset(name).summary} for name in list_presets()], details)


def _metrics() -> Kind:
    from avq.metrics.registry import METRICS

    def facts(name: str, keys: tuple[str, ...]) -> dict[str, Any]:
        return {key: getattr(METRICS[name], key) for key in keys}

    rows = [facts(name, ("name", "unit", "better", "title")) for name in METRICS]
    details = ("name", "title", "unit", "better", "kind", "of", "format", "label", "weights", "measured_by",
               "measured_after", "version", "not_judged")  # fmt: skip
    return Kind(rows, lambda name: facts(name, details))


def _settings() -> Kind:
    from avq.data.config import DATA_SETTINGS, DataConfig
    from avq.models.config import MODEL_SETTINGS, AutoencoderConfig
    from avq.models.quantizers.registry import QUANTIZERS
    from avq.training.config import TRAIN_SETTINGS, TrainConfig

    rows: list[Row] = [
        {"name": name, "of": place, "default": getattr(config, name, None), "help": text}
        for place, settings, config in (
            ("model", MODEL_SETTINGS, AutoencoderConfig),
            ("training", TRAIN_SETTINGS, TrainConfig),
            ("data", DATA_SETTINGS, DataConfig),
        )
        for name, text in settings.items()
    ]
    rows += [
        {"name": name, "of": "model", "default": default, "help": f"of quantizer {quantizer}"}
        for quantizer, entry in QUANTIZERS.items()
        for name, default in entry.settings.items()
    ]
    return Kind(rows, lambda name: next(row for row in rows if row["name"] == name))


def _weights() -> Kind:
    from avq.metrics.weights import REGISTRY, get_weights, look

    rows: list[Row] = []
    for entry in REGISTRY.values():
        for known in entry.files:
            where = next((found for found in look(entry.name) if found.known is known), None)
            state = "missing" if where is None else str(where.path) if where.state == "ok" else f"DAMAGED {where.path}"
            rows.append(
                {"name": entry.name, "file": known.file, "MB": round(known.size / 1e6, 1), "sha256": known.sha256[:12],
                 "for": entry.metrics, "where": state, "licence": known.licence, "source": known.source}
            )  # fmt: skip

    def details(name: str) -> dict[str, Any]:
        entry = get_weights(name)
        files = {f"file {known.file}": {**asdict(known), "source": known.source} for known in entry.files}
        return {"name": entry.name, "metrics": entry.metrics, **files}

    return Kind(rows, details)


KINDS: dict[str, Callable[[], Kind]] = {
    "variants": _variants,
    "quantizers": _quantizers,
    "ablations": _ablations,
    "datasets": _datasets,
    "presets": _presets,
    "metrics": _metrics,
    "settings": _settings,
    "weights": _weights,
}


def find(name: str) -> tuple[str, Mapping[str, Any]]:
    """The kind that has something of that name, the first in `KINDS` if several do, and everything about it.

    Raises:
        UsageError: nothing has that name; the nearest name is suggested.
    """
    from avq.errors import unknown

    known: set[str] = set()
    for kind, load in KINDS.items():
        entry = load()
        names = {str(row["name"]) for row in entry.rows}
        if name in names:
            return kind, entry.details(name)
        known |= names
    raise unknown("name", name, known, "`avq-bench list` shows what there is.")
