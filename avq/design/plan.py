"""From an ablation to content-addressed runs: rows x seeds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from avq.design.ablation import Ablation
from avq.design.presets import Preset
from avq.design.rows import Row, choose, expand
from avq.design.settings import Setting
from avq.errors import UsageError
from avq.store.record import canonical


@dataclass(frozen=True)
class Run:
    """One training of one model: all that decides its outcome, and nothing else.

    Attributes:
        variant: the name it was planned under; not part of its content.
        factory: what builds it, where that is not the suite's autoencoder.
        model: all model settings, resolved, as `build_from_config` takes them.
        data: all data settings, `image_size` resolved.
        fingerprint: content address of the data.
        train: training settings as `avq.training.config.content` gives them, `precision` resolved.
        seed: of data order, initialisation and sampling.
        code: hash of the code that trains.
    """

    variant: str
    factory: str | None
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    fingerprint: str
    train: Mapping[str, Any]
    seed: int
    code: str

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def dataset(self) -> str:
        return str(self.data["dataset"])

    @property
    def image_size(self) -> int:
        return int(self.data["image_size"])

    @property
    def content(self) -> dict[str, Any]:
        """What the run's id is the hash of, but for the code."""
        names = ("factory", "model", "data", "fingerprint", "train", "seed")
        return {name: dict(v) if isinstance(v := getattr(self, name), Mapping) else v for name in names}

    @cached_property
    def config_id(self) -> str:
        """sha256 of the resolved configuration, whatever code trains it."""
        return hashlib.sha256(canonical(self.content).encode()).hexdigest()

    @cached_property
    def id(self) -> str:
        """sha256 of configuration and code: the run's address."""
        return hashlib.sha256(canonical({"config": self.config_id, "code": self.code}).encode()).hexdigest()

    @property
    def short_id(self) -> str:
        return self.id[:8]

    @property
    def name(self) -> str:
        """Name of the run's folder, such as `aren-1-cifar10-32px-s0-1a2b3c4d`."""
        variant = re.sub(r"[^\w.-]", "_", self.variant)  # a plug-in may call its variants what it likes
        return f"{variant}-{self.dataset}-{self.image_size}px-s{self.seed}-{self.short_id}"

    @cached_property
    def model_id(self) -> str:
        """Hash of what decides a step's cost: model, image size, batch, precision, losses and code; 16 digits."""
        from avq.training.config import step_settings

        what = {"factory": self.factory, "model": dict(self.model), "image_size": self.image_size,
                "batch_size": self.train.get("batch_size"), "precision": self.train.get("precision"),
                "code": self.code} | step_settings(self.train)  # fmt: skip
        return hashlib.sha256(canonical(what).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """The run as JSON: its content and its ids."""
        ids = {"id": self.id, "config_id": self.config_id, "code": self.code}
        return self.content | ids | {"run": self.name, "variant": self.variant}


@dataclass(frozen=True)
class Entry:
    """A row's run under one seed."""

    row: Row
    run: Run


@dataclass(frozen=True)
class Plan:
    """What a command is going to do: the rows, and their runs under every seed. `sets` is what `--set` gave."""

    ablation: Ablation
    preset: Preset
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    entries: tuple[Entry, ...]
    sets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        """The distinct runs, seed by seed, so that a killed sweep leaves whole tables of fewer seeds."""
        return list(
            dict.fromkeys(entry.run for entry in sorted(self.entries, key=lambda e: self.seeds.index(e.run.seed)))
        )

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(entry.run.dataset for entry in self.entries))

    @property
    def experiment(self) -> str:
        """Name of the experiment's folder: `<ablation>-<preset>-<dataset>`, and a hash of what `--set` changed."""
        dataset = self.datasets[0] if len(self.datasets) == 1 else "several"
        name = f"{self.ablation.name}-{self.preset.name}-{dataset}"
        if not self.sets:
            return name
        return f"{name}-{hashlib.sha256(canonical(dict(self.sets)).encode()).hexdigest()[:8]}"

    def describe(self) -> dict[str, Any]:
        """The plan as JSON, with every setting's value and origin."""
        # Later keys only where they are used: plans of before them are still of the same question.
        absent: dict[str, Any] = {} if self.ablation.presets else {"presets": True}
        absent |= {} if self.ablation.budget.quality else {"budget": {"quality"}}
        return {
            "experiment": self.experiment,
            "ablation": self.ablation.model_dump(exclude=absent),
            "preset": self.preset.name,
            "preset_settings": dict(self.preset.settings),
            "seeds": list(self.seeds),
            "rows": [asdict(row) for row in self.rows],
            "runs": [{"row": e.row.label, "seed": e.run.seed, "run": e.run.name, "id": e.run.id} for e in self.entries],
        }


@dataclass(frozen=True)
class Choices:
    """What a user may choose besides ablation and preset.

    Attributes:
        settings: as given by `--set`, by name.
        dataset: name of a dataset instead of the preset's.
        only: rows, by label or variant.
        seeds: a number of seeds, or the seeds themselves.
    """

    settings: Mapping[str, Any]
    dataset: str | None = None
    only: Sequence[str] | None = None
    seeds: int | Sequence[int] | None = None


def plan_rows(ablation: Ablation, preset: Preset, choices: Choices) -> list[Row]:
    """The chosen rows, every setting resolved; needs no data, no torch.

    Raises:
        UsageError: as `expand` and `choose`; a setting of `--set` that does nothing in any row, those that are not
            chosen among them; a discriminator that would never begin.
    """
    from avq.design.settings import check_names

    check_names(choices.settings, "--set")
    sets = {name: Setting(value, "--set") for name, value in choices.settings.items()}
    if choices.dataset is not None:
        sets["dataset"] = Setting(choices.dataset, "--dataset")
    given = "; ".join(f"{name}={value}" for name, value in choices.settings.items())
    rows = [replace(row, note="; ".join(filter(None, (row.note, given)))) for row in expand(ablation, preset, sets)]
    _refuse_idle(choices.settings, rows)
    chosen = choose(rows, ablation, preset, choices.only)
    for row in chosen:
        start, steps = row.settings["adversarial_start"].value, row.settings["steps"].value
        if row.settings["adversarial"].value != "none" and start >= steps:
            raise UsageError(
                f"row {row.label}: adversarial_start = {start} is not below steps = {steps}: the discriminator would "
                "never begin."
            )
    return chosen


def _refuse_idle(given: Mapping[str, Any], rows: Sequence[Row]) -> None:
    from avq.training.config import NEEDS

    for name in given:
        if name in NEEDS and all(row.settings[NEEDS[name]].value == "none" for row in rows):
            raise UsageError(f"--set {name} does nothing: {NEEDS[name]} is 'none' in every row; set it too.")


def plan_seeds(preset: Preset, seeds: int | Sequence[int] | None) -> tuple[int, ...]:
    """`None` -> the preset's number; `3` -> 0, 1, 2; a list as it is.

    Raises:
        UsageError: no seed, a negative one, or one twice.
    """
    chosen = tuple(range(seeds if isinstance(seeds, int) else preset.seeds)) if seeds is None or isinstance(
        seeds, int) else tuple(seeds)  # fmt: skip
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise UsageError(f"--seeds takes a number from 1 on or distinct seeds from 0 on, not {seeds}.")
    return chosen


def make_plan(
    ablation: Ablation,
    preset: Preset,
    choices: Choices,
    *,
    data_root: Path | None,
    device: str,
) -> Plan:
    """Expand an ablation into runs.

    Args:
        data_root: where datasets lie.
        device: `cpu` or `cuda`; decides what precision `auto` means.

    Raises:
        UsageError: whatever does not exist or does not fit, missing data files among it.
    """
    from avq.design.matching import match_rows
    from avq.models.zoo import variant_entry

    seeds = plan_seeds(preset, choices.seeds)
    rows = plan_rows(ablation, preset, choices)
    if any(row.match != "steps" for row in rows):
        everything = plan_rows(ablation, replace(preset, smoke_rows=False), replace(choices, only=None))
        rows = match_rows(rows, everything, ablation.budget.reference)
    fingerprints: dict[str, str] = {}
    entries = []
    for row in rows:
        code = code_of_factory(variant_entry(row.variant).factory)
        entries += [Entry(row, make_run(row, seed, code, data_root, device, fingerprints)) for seed in seeds]
    return Plan(ablation, preset, tuple(rows), seeds, tuple(entries), dict(choices.settings))


def code_of_factory(factory: str | None) -> str:
    """Hash of the code that trains what a factory builds; a plug-in counts where it is the factory's.

    Raises:
        UsageError: the factory's module cannot be found.
    """
    from avq.design.code_hash import code_of_training

    if factory is None or factory.startswith("avq."):
        return code_of_training()
    return code_of_training((factory.partition(":")[0],))


def make_run(row: Row, seed: int, code: str, data_root: Path | None, device: str, fingerprints: dict[str, str]) -> Run:
    """A row's run under one seed. `fingerprints` remembers those of data seen before."""
    from avq.data.cards import get_card
    from avq.data.config import DataConfig
    from avq.data.sources import fingerprint
    from avq.models.zoo import variant_entry
    from avq.training.config import TrainConfig, content

    data = row.values(DataConfig)
    card = get_card(data.dataset)
    data = replace(data, image_size=data.image_size or card.default_size)
    train = replace(row.values(TrainConfig), precision=_precision(row.values(TrainConfig).precision, device))
    key = canonical(asdict(data))
    if key not in fingerprints:
        fingerprints[key] = fingerprint(data, data_root)
    return Run(
        variant=row.variant,
        factory=variant_entry(row.variant).factory,
        model=row.model,
        data=asdict(data),
        fingerprint=fingerprints[key],
        train=content(train),
        seed=seed,
        code=code,
    )


def _precision(precision: str, device: str) -> str:
    """What `auto` means on this device."""
    from avq.training.precision import resolve_precision

    return resolve_precision(precision, device)
