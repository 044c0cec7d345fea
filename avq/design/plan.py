"""From an ablation to runs: rows x seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from avq.design.ablation import Ablation
from avq.design.parts import training_code
from avq.design.presets import Preset
from avq.design.rows import Row, choose, expand
from avq.design.run import Run
from avq.design.settings import Setting
from avq.design.task import canonical, fingerprint_of
from avq.errors import UsageError

MOST_SEEDS = 1000


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
        return f"{name}-{fingerprint_of(dict(self.sets))[:8]}"

    def describe(self) -> dict[str, Any]:
        """The plan as JSON, with every setting's value and origin."""
        # Later keys only where they are used: plans of before them are still of the same question.
        absent: dict[str, Any] = {} if self.ablation.presets else {"presets": True}
        absent |= {} if self.ablation.budget.quality else {"budget": {"quality"}}
        return {
            "schema_version": 2,
            "experiment": self.experiment,
            "ablation": self.ablation.model_dump(exclude=absent),
            "preset": self.preset.name,
            "preset_settings": dict(self.preset.settings),
            "seeds": list(self.seeds),
            "rows": [asdict(row) for row in self.rows],
            "runs": [{"row": e.row.label, "seed": e.run.seed, "run": e.run.name} for e in self.entries],
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
        start, steps = row.settings["disc_start"].value, row.settings["steps"].value
        if row.settings["adversarial"].value != "none" and start >= steps:
            raise UsageError(
                f"row {row.label}: disc_start = {start} is not below steps = {steps}: the discriminator would "
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
        UsageError: no seed, a negative one, or one twice; more than anyone means.
    """
    count = seeds if isinstance(seeds, int) else len(seeds or ())
    if count > MOST_SEEDS:
        raise UsageError(f"{count:,} seeds are more than the {MOST_SEEDS:,} that one command trains.")
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

    seeds = plan_seeds(preset, choices.seeds)
    rows = plan_rows(ablation, preset, choices)
    if any(row.match != "steps" for row in rows):
        everything = plan_rows(ablation, replace(preset, smoke_rows=False), replace(choices, only=None))
        rows = match_rows(rows, everything, ablation.budget.reference)
    images: dict[str, str] = {}
    entries = [Entry(row, make_run(row, seed, data_root, device, images)) for row in rows for seed in seeds]
    return Plan(ablation, preset, tuple(rows), seeds, tuple(entries), dict(choices.settings))


def make_run(row: Row, seed: int, data_root: Path | None, device: str, images: dict[str, str]) -> Run:
    """A row's run under one seed. `images` remembers the fingerprints of data seen before."""
    from avq.data.cards import get_card
    from avq.data.config import DataConfig
    from avq.data.fingerprint import fingerprint
    from avq.models.zoo import variant_entry
    from avq.training.config import TrainConfig, effective

    data = row.values(DataConfig)
    card = get_card(data.dataset)
    data = replace(data, image_size=data.image_size or card.default_size)
    chosen = row.values(TrainConfig)
    train = effective(replace(chosen, precision=_precision(chosen.precision, device)))
    key = canonical(asdict(data))
    if key not in images:
        images[key] = fingerprint(data, data_root)
    factory = variant_entry(row.variant).factory
    return Run(
        variant=row.variant,
        factory=factory,
        model=row.model,
        data=asdict(data),
        images=images[key],
        train=train,
        seed=seed,
        code=training_code(factory, row.model, train, data.dataset),
    )


def _precision(precision: str, device: str) -> str:
    """What `auto` means on this device."""
    from avq.training.precision import resolve_precision

    return resolve_precision(precision, device)
